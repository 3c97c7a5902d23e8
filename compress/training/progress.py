"""A bar on the terminal while a model is trained."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

REFRESHES = 2  # a second


class TrainingBar:
    """Steps done, the time left and the loss; nothing where standard error is no terminal.

    It begins with the first step and is gone after the last one.
    """

    def __init__(self) -> None:
        """No bar yet."""
        self._console = Console(stderr=True)
        self._progress: Progress | None = None

    def update(self, done: int, steps: int, loss: float | None) -> None:
        """Moves the bar.

        Args:
            done: steps so far.
            steps: all of them.
            loss: mean of the last ones; null if it is not known yet.
        """
        if not self._console.is_terminal:
            return
        if self._progress is None:
            self._progress = Progress(
                TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("steps,"),
                TimeRemainingColumn(), TextColumn("left {task.fields[loss]}"),
                console=self._console, transient=True, refresh_per_second=REFRESHES,
            )  # fmt: skip
            self._progress.start()
            self._progress.add_task("", total=steps, loss="")
        words = "" if loss is None else f", loss {loss:.3f}"
        self._progress.update(self._progress.task_ids[0], completed=done, loss=words)

    def close(self) -> None:
        """Removes the bar."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
