"""What a run says of itself, and how its figures are put into words."""
