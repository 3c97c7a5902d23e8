"""Pruners: one file per method."""
