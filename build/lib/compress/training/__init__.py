"""The one training loop, and distillation on top of it."""
