"""Tools that show many runs side by side, one a module."""
