"""What the stages exchange: models, rows, problems, what a run can be watched by."""
