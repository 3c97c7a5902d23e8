"""Model folders, run folders and finished stages on disk."""
