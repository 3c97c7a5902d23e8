"""Accumulates the duration of several pieces of work."""

from __future__ import annotations

import time
from types import TracebackType


class Stopwatch:
    """A reusable context manager that accumulates time.

    Attributes:
        seconds: all that it ran for.
    """

    def __init__(self) -> None:
        """Starts at zero."""
        self.seconds = 0.0
        self._started = 0.0

    def __enter__(self) -> None:
        """Starts the clock."""
        self._started = time.perf_counter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stops the clock."""
        self.seconds += time.perf_counter() - self._started
