"""Numeric formats: one file per format."""
