"""Adds up what several pieces of work took."""

from __future__ import annotations

import time
from types import TracebackType


class Stopwatch:
    """Runs while it is entered, and may be entered again.

    Attributes:
        seconds: all that it ran for.
    """

    def __init__(self) -> None:
        """Has not run yet."""
        self.seconds = 0.0
        self._started = 0.0

    def __enter__(self) -> None:
        """Starts it."""
        self._started = time.perf_counter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stops it."""
        self.seconds += time.perf_counter() - self._started
