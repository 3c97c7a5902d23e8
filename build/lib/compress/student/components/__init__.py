"""What several students share."""
