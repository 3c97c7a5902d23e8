"""The stages of one run, each loaded from the stage store or computed."""
