"""Saved models of runs that are over, measured again."""
