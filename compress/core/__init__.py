"""Types that the stages exchange: models, rows, problems, monitors."""
