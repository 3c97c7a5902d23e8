"""Code shared by several runtimes."""
