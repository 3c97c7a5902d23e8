"""Monitors: observe a run's stages and steps, pause other work, and may end the run.

A search passes one to the runs of its workers, and a tracker may put its own around that. Stages
find it in their `StageContext`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compress.records.curve import CurvePoint


@dataclass(frozen=True)
class Forecast:
    """Predicted size of a model, before it is computed.

    Attributes:
        parameters: how many it will have; null if that depends on weights or rows.
        least_bytes: lower bound on the size of its files; null if that depends on weights or rows.
    """

    parameters: int | None
    least_bytes: int | None


class Rejected(Exception):
    """The run is not worth finishing: it cannot meet a constraint of the search."""

    def __init__(self, reason: str, excesses: Mapping[str, float]) -> None:
        """Stores the reason and the constraint violations.

        Args:
            reason: in words.
            excesses: by constraint, how far the run would be beyond it, as a share of the bound.
        """
        super().__init__(reason)
        self.excesses = dict(excesses)


class Stopped(BaseException):
    """The run was asked to end and did so between two stages; finished stages are stored."""


class Monitor:
    """Observes one run; this base class ignores all that it is told."""

    def forecast(self, forecast: Callable[[], Forecast]) -> None:
        """Called with the forecast before the run starts.

        Raises:
            Rejected: that is enough.
        """

    def stage(self, name: str) -> None:
        """Called at the start of a stage, when the run can end without losing work.

        Raises:
            Stopped: it is to end.
        """

    def resume(self, name: str) -> None:
        """Called when a stage goes on, after another that began inside it has ended."""

    def step(self, done: int, steps: int) -> None:
        """Called after training steps."""

    def training(self) -> Callable[[CurvePoint], None]:
        """Called at the start of a training; returns a callback for its curve points."""
        return lambda _: None

    def look(self, done: int, steps: int, scores: Callable[[], Mapping[str, float]]) -> None:
        """Called with an intermediate state of a training.

        Args:
            done: steps of the optimizer so far.
            steps: all of them.
            scores: of the model as it is, on the validation rows; computed when it is called.

        Raises:
            Rejected: the run is not worth going on with.
        """

    def quiet(self) -> AbstractContextManager[None]:
        """A context in which no other worker of the search uses the processor."""
        return nullcontext()


UNWATCHED = Monitor()


class StepClock(Monitor):
    """Times training steps.

    Attributes:
        times: when each step ended, by `time.perf_counter()`.
    """

    def __init__(self) -> None:
        """No steps."""
        self.times: list[float] = []

    def step(self, done: int, steps: int) -> None:
        """Notes the time."""
        self.times.append(time.perf_counter())

    def mean(self, skipped: int = 0) -> float:
        """Seconds from one step to the next, without the first ones."""
        times = self.times[skipped:]
        return (times[-1] - times[0]) / (len(times) - 1)
