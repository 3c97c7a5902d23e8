"""Devices: one file for each choice."""
