"""Students: one file a choice."""
