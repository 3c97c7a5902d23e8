"""Experiments: several named runs that are set beside published figures."""
