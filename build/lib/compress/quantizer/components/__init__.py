"""What several quantizers share."""
