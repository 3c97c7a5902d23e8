"""Runtimes: export and execution of models."""
