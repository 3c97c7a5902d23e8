"""A bar on the terminal while a model is trained, or a line each half minute in a log."""

from __future__ import annotations

import logging
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

log = logging.getLogger(__name__)

REFRESHES = 2  # a second
LOG_SECONDS = 30.0


class TrainingBar:
    """Steps done, the time left and the loss.

    The bar begins with the first step and is gone after the last one. Where standard error is not a
    terminal, there is a line each half minute instead.
    """

    def __init__(self) -> None:
        """No bar yet."""
        self._console = Console(stderr=True)
        self._progress: Progress | None = None
        self._began = self._logged = time.perf_counter()

    def update(self, done: int, steps: int, loss: float | None) -> None:
        """Moves the bar.

        Args:
            done: steps so far.
            steps: all of them.
            loss: mean of the last ones; null if it is not known yet.
        """
        words = "" if loss is None else f", loss {loss:.3f}"
        if not self._console.is_terminal:
            self._log(done, steps, words)
            return
        if self._progress is None:
            self._progress = Progress(
                TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("steps,"),
                TimeRemainingColumn(), TextColumn("left {task.fields[loss]}"),
                console=self._console, transient=True, refresh_per_second=REFRESHES,
            )  # fmt: skip
            self._progress.start()
            self._progress.add_task("", total=steps, loss="")
        self._progress.update(self._progress.task_ids[0], completed=done, loss=words)

    def close(self) -> None:
        """Removes the bar."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _log(self, done: int, steps: int, words: str) -> None:
        now = time.perf_counter()
        if now - self._logged < LOG_SECONDS or done == steps:
            return
        self._logged = now
        left = (now - self._began) / done * (steps - done)
        log.info("training: %d of %d steps, %.0f s left%s", done, steps, left, words)
