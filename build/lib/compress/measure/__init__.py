"""The only place where numbers are made."""
