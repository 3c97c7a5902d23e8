"""What several teachers share."""
