"""Tables and plots, drawn from records only."""
