"""What may watch a run: it hears of stages and steps, keeps others quiet, and may end the run.

A search passes one to the runs of its workers, and a tracker may put its own around that. Stages
find it in their `StageContext`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compress.records.curve import CurvePoint


@dataclass(frozen=True)
class Forecast:
    """What can be said of a model before it is made.

    Attributes:
        parameters: how many it will have; null if that depends on weights or rows.
        least_bytes: lower bound on the size of its files; null if that depends on weights or rows.
    """

    parameters: int | None
    least_bytes: int | None


class Rejected(Exception):
    """The run is not worth finishing: it cannot meet a constraint of the search."""

    def __init__(self, reason: str, excesses: Mapping[str, float]) -> None:
        """Says why.

        Args:
            reason: in words.
            excesses: by constraint, how far the run would be beyond it, as a share of the bound.
        """
        super().__init__(reason)
        self.excesses = dict(excesses)


class Stopped(BaseException):
    """The run was asked to end; it did so between two stages, and those behind it are stored."""


class Monitor(ABC):
    """Watches one run."""

    @abstractmethod
    def forecast(self, forecast: Callable[[], Forecast]) -> None:
        """Hears what can be said of the run before it starts.

        Raises:
            Rejected: that is enough.
        """

    @abstractmethod
    def stage(self, name: str) -> None:
        """Hears that a stage begins, when nothing would be lost if the run ended.

        Raises:
            Stopped: it is to end.
        """

    @abstractmethod
    def step(self, done: int, steps: int) -> None:
        """Hears of steps of training."""

    def training(self) -> Callable[[CurvePoint], None]:
        """Hears that a training begins; returns what hears of each point of its curve."""
        return lambda _: None

    @abstractmethod
    def look(self, done: int, steps: int, scores: Callable[[], Mapping[str, float]]) -> None:
        """May look at a model in the middle of its training.

        Args:
            done: steps of the optimizer so far.
            steps: all of them.
            scores: of the model as it is, on the validation rows; computed when it is called.

        Raises:
            Rejected: the run is not worth going on with.
        """

    @abstractmethod
    def quiet(self) -> AbstractContextManager[None]:
        """Within it, nothing else that the monitor knows of uses the processor."""


class Unwatched(Monitor):
    """Nobody listens."""

    def forecast(self, forecast: Callable[[], Forecast]) -> None:
        """Nothing."""

    def stage(self, name: str) -> None:
        """Nothing."""

    def step(self, done: int, steps: int) -> None:
        """Nothing."""

    def look(self, done: int, steps: int, scores: Callable[[], Mapping[str, float]]) -> None:
        """Nothing."""

    def quiet(self) -> AbstractContextManager[None]:
        """Nothing."""
        return nullcontext()


UNWATCHED: Monitor = Unwatched()
