"""Problems: head, losses and metrics of each kind of task, one file each."""
