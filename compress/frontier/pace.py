"""How many passes over the rows fit into the hours of a search.

Steps are timed on the rows themselves, of the super-net before it is trained and of the costliest
finalist before all are. A third of what is left of the hours then goes to the super-net, and the
rest, but for exports and measurements, in equal parts to the finalists.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from compress.config.errors import UserError
from compress.core.monitor import StepClock
from compress.student.components.sandwich import Sandwich
from compress.student.supernet import SupernetStudent
from compress.training.distillation import Distillation

if TYPE_CHECKING:
    from compress.core.benchmark import Benchmark
    from compress.interfaces import StageContext

SUPERNET, ALONE = "student.supernet.epochs", "student.distillation.epochs"
# Batches are grouped by length, so many of them at a time (`LengthGroupedSampler` of transformers),
# the longest first: fewer steps take longer than all do in the mean.
STEPS = 50
# Where so many would take longer than this share of what is left, fewer are timed, at least these.
TIMED_SHARE, TIMED = 1 / 20, 5
SUPERNET_SHARE = 1 / 3
COSTS_MINUTES = 4.0  # for the table of costs, unless they are set
SLACK = 0.9  # a step may take longer later on than when it was timed
# A search that begins again: until it has read all that is in the cache and timed its steps. What
# was timed varies.
AGAIN_SECONDS, MARGIN = 60.0, 1.1
# Of a finalist, roughly: loading, exporting and scoring it, and starting a pair of processes.
EXPORT_SECONDS, START_SECONDS = 15.0, 3.0
# The noise floor and the controls, measured beside the first finalist, take as long as this many.
ONCE = 2

T = TypeVar("T", bound=Distillation)


@dataclass(frozen=True)
class Pace:
    """The time of a search.

    Attributes:
        began: when it began, by `time.perf_counter()`.
        hours: of it; None for no limit.
        named: keys that the command line sets, whose epochs are left as they are.
        workers: finalists that are trained side by side, each with its share of the threads.
    """

    began: float
    hours: float | None
    named: frozenset[str]
    workers: int = 1

    def sets(self, key: str) -> bool:
        """Whether the epochs of this key follow from the time."""
        parts = key.split(".")
        above = {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
        return self.hours is not None and not above & (self.named - {parts[0]})

    def spent(self) -> float:
        """Hours since the beginning."""
        return (time.perf_counter() - self.began) / 3600

    def left(self) -> float:
        """Seconds until the end."""
        assert self.hours is not None, "asked for where it sets epochs"
        return (self.hours - self.spent()) * 3600

    def left_words(self) -> str:
        """What is left of the time."""
        assert self.hours is not None, "asked for where it sets epochs"
        return f"{self.left() / 60:.0f} of {self.hours * 60:.0f} minutes are left"

    def timing_seconds(self) -> float:
        """Seconds for the timing of steps, if as many as are to be timed take longer."""
        return self.left() * TIMED_SHARE

    def check_measuring(self, benchmark: Benchmark) -> None:
        """Raises a UserError if the time is too short for measurements alone."""
        if self.sets(SUPERNET) and self.sets(ALONE):
            needed = (1 + ONCE) * measuring_seconds(benchmark)
            if self.left() < needed:
                raise self.too_short(needed)

    def costs_minutes(self) -> float:
        """Minutes for the table of costs, if they are not set."""
        return COSTS_MINUTES if self.hours is None else min(COSTS_MINUTES, self.hours * 60 / 8)

    def too_short(self, needed: float) -> UserError:
        """The error of a search that needs so many seconds more, and has fewer."""
        assert self.hours is not None, "asked for where it sets epochs"
        whole = (self.spent() * 3600 + needed) * MARGIN
        again = (AGAIN_SECONDS + needed) * MARGIN
        return UserError(
            "hydra.sweeper.max_hours is too short to train and to measure a finalist: "
            f"{_hundredths(whole):g} or more was needed, got {self.hours:g}. With what is in the "
            f"stage cache now, it is hydra.sweeper.max_hours={_hundredths(min(whole, again)):g}"
        )


def supernet_epochs(
    student: SupernetStudent, nets: int, benchmark: Benchmark, pace: Pace, ctx: StageContext
) -> float:
    """Epochs of the super-net, at most those that it has.

    Args:
        student: with the super-net.
        nets: number of super-nets that are trained.
        benchmark: by which finalists are measured.
        pace: of the search.
        ctx: of the stage.

    Raises:
        UserError: there is no time for as many steps as are timed, and for a finalist.
    """

    def train(few: Sandwich, ctx: StageContext) -> None:
        replace(student, supernet=few).train_net(ctx)

    steps, step = _timed(student, student.supernet, train, ctx, pace)
    least = min(STEPS, steps * student.supernet.epochs) * step
    after = (1 + ONCE) * measuring_seconds(benchmark) + least  # what one finalist takes at least
    left = pace.left()
    if left < nets * least + after:
        raise pace.too_short(nets * least + after)
    seconds = max(left * SUPERNET_SHARE / nets, least)
    return _epochs(min(seconds, (left - after) / nets), steps * step, student.supernet.epochs)


def finalists_in_time(
    student: SupernetStudent, count: int, benchmark: Benchmark, pace: Pace, ctx: StageContext
) -> tuple[int, float]:
    """How many finalists there is time for, and the epochs of each, at most those that it has.

    There is always one, trained for as many steps as are timed: what it needs was paid for.

    Args:
        student: with the costliest of the sub-nets, and the super-net's training.
        count: number of finalists, at most.
        benchmark: by which they are measured.
        pace: of the search.
        ctx: of the stage.
    """
    matching = student.matching
    joint = replace(matching, epochs=0.0, learning_rate=None) if matching.epochs else matching

    def train(few: Distillation, ctx: StageContext) -> None:
        replace(student, distillation=few, matching=joint).distill(ctx)

    most = student.distillation.epochs
    steps, step = _timed(student, student.distillation, train, ctx, pace)
    left, least = pace.left(), min(STEPS, steps * most) * step
    for fewer in range(count, 0, -1):
        turns = math.ceil(fewer / pace.workers)
        spent = (fewer + ONCE) * measuring_seconds(benchmark)
        seconds = (left - spent) / turns - matching.epochs * steps * step
        if seconds >= least:
            return fewer, _epochs(seconds, steps * step, most)
    return 1, _epochs(least, steps * step, most)


def _hundredths(seconds: float) -> float:
    """Hours, rounded up."""
    return math.ceil(seconds / 36) / 100


def measuring_seconds(benchmark: Benchmark) -> float:
    """How long the export and the measurement of a finalist take, roughly."""
    timing = len(benchmark.shapes) * benchmark.seconds
    return EXPORT_SECONDS + benchmark.process_restarts * (START_SECONDS + timing)


class _Enough(Exception):
    """Steps were timed for long enough."""


class _BriefClock(StepClock):
    """Ends a training as soon as its steps have taken so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def step(self, done: int, steps: int) -> None:
        """Notes the time.

        Raises:
            _Enough: that was the last step.
        """
        super().step(done, steps)
        if len(self.times) > TIMED and self.times[-1] - self.times[0] >= self._seconds:
            raise _Enough


def _timed(
    student: SupernetStudent,
    training: T,
    train: Callable[[T, StageContext], None],
    ctx: StageContext,
    pace: Pace,
) -> tuple[int, float]:
    """Steps of an epoch and seconds of each, from some steps of which nothing is kept."""
    steps = math.ceil(len(student.augmented(ctx).data.learned) / training.batch_size)
    clock = _BriefClock(pace.timing_seconds())
    epochs = max(min(STEPS / steps, training.epochs), (TIMED + 1) / steps)
    few = replace(training, epochs=epochs, patience=None)
    with suppress(_Enough):
        train(few, replace(ctx, monitor=clock))
    return steps, clock.mean()


def _epochs(seconds: float, full: float, most: float) -> float:
    """As many epochs as fit, in two digits."""
    return float(f"{min(seconds * SLACK / full, most):.2g}")
