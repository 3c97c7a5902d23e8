"""The parts of a transformer: found, loaded, checked, cut and packed."""
