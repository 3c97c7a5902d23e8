"""Cutting a model to a shape by importance: what pruners and students share."""
