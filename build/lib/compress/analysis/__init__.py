"""Statistics over records and rows: pure functions."""
