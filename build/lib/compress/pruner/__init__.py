"""Pruners: one file a method."""
