"""Records of runs: schema, checks, and texts on their figures."""
