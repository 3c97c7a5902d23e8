"""Measurement of candidate and baseline: the only source of a record's numbers."""
