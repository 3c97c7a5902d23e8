"""Runtimes: what exports a model and executes it."""
