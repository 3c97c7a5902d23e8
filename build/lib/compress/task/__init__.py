"""Tasks: one file a family."""
