"""Numeric formats: one file a format."""
