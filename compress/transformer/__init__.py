"""The parts of a transformer: finding, loading, checking, resizing and packing them."""
