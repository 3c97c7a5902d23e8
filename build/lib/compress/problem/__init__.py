"""Problems: what a model learns of a row, one file a kind."""
