"""Processors: one file a choice."""
