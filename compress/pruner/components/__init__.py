"""What several pruners share."""
