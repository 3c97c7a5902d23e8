"""Students: one file per choice."""
