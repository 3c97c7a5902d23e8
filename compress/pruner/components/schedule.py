"""How sparsity grows while a model trains, for the pruners that prune in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError
from compress.config.fields import Fraction, OneOf, PositiveInt, UnitInterval
from compress.config.settings import Settings


def linear(progress: float, first: float, last: float) -> float:
    """Straight: s = s_i + (s_f − s_i) · p."""
    return first + (last - first) * progress


def cubic(progress: float, first: float, last: float) -> float:
    """Fast, then slow: s = s_f + (s_i − s_f) · (1 − p)³; Zhu & Gupta, arXiv:1710.01878, eq. 1."""
    return last + (first - last) * (1 - progress) ** 3


def exponential(progress: float, first: float, last: float) -> float:
    """The kept fraction shrinks geometrically: s = 1 − (1 − s_i)^(1−p) · (1 − s_f)^p."""
    kept: float = (1 - first) ** (1 - progress) * (1 - last) ** progress
    return 1 - kept


CURVES: dict[str, Callable[[float, float, float], float]] = {
    "linear": linear,
    "cubic": cubic,
    "exponential": exponential,
}


def scheduled(curve: str, progress: float, first: float, last: float) -> float:
    """The sparsity at a progress in [0, 1] from `first` to `last`; at 1 it is `last` to the bit."""
    return last if progress >= 1 else CURVES[curve](progress, first, last)


def progress_of(position: float, start: float, end: float) -> float:
    """How much of the way from start to end a position has gone: 0 before it, 1 after it."""
    return min(max((position - start) / (end - start), 0.0), 1.0)


@dataclass(frozen=True, kw_only=True)
class Span(Settings):
    """The part of a training in which a model is pruned, in fractions of all its steps.

    Attributes:
        start: start of pruning as a fraction of the training, in [0, 1].
        end: when the full sparsity is reached, as a fraction of the training.
    """

    start: UnitInterval
    end: UnitInterval

    def __post_init__(self) -> None:
        """Checks that the span has a length."""
        super().__post_init__()
        if self.start >= self.end:
            name = type(self).__name__
            raise ConfigError(f"{name}.start must be below end={self.end}, got {self.start}")


@dataclass(frozen=True, kw_only=True)
class SparsitySchedule(Span):
    """How sparsity grows from update to update.

    Attributes:
        curve: "linear", "cubic" (Zhu & Gupta's) or "exponential".
        start_sparsity: sparsity of the first update.
        frequency: steps from one update to the next.
    """

    curve: Annotated[str, OneOf(CURVES)]
    start_sparsity: Fraction
    frequency: PositiveInt

    def update_steps(self, steps: int) -> tuple[int, ...]:
        """After how many of `steps` optimizer steps the masks are updated; 0 is before the first.

        Every `frequency` steps from `start` on, and always at `end`, both to the nearest step.
        """
        first, last = round(self.start * steps), round(self.end * steps)
        return (*range(first, last, self.frequency), last)
