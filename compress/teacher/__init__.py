"""Teachers: one file per kind."""
