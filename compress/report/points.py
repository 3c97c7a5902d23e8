"""Runs as points: figures that compare between runs, with intervals, and the front of them. Pure.

Milliseconds of different runs differ with whatever else the machine did; the ratio to the teacher
that was timed in turns with the candidate does not. So a latency here is the teacher's median over
all runs of a section, divided by the run's own speed-up if that counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Float

from compress.analysis.pareto import Direction, pareto_front
from compress.config.legible import visible
from compress.records.schema import FinishedRun, Latency, ModelMetrics, Speedup
from compress.records.score_words import kind_of
from compress.records.words import SAME_BYTES, shape_words

Shape: TypeAlias = tuple[int, int]
Place: TypeAlias = Literal["front", "as good", "beaten"]
FRONT: Place = "front"
AS_GOOD: Place = "as good"
BEATEN: Place = "beaten"


@dataclass(frozen=True)
class Figure:
    """One figure of all points; NaN where a run does not have it.

    Two values whose ranges, from `low` to `high`, overlap cannot be distinguished.
    """

    better: Direction
    values: Float[np.ndarray, " points"]
    low: Float[np.ndarray, " points"]
    high: Float[np.ndarray, " points"]


def shapes_of(records: Iterable[FinishedRun]) -> tuple[Shape, ...]:
    """All shapes that were timed: first those of the most runs, then in the records' order."""
    counted = Counter((each.batch, each.length) for record in records for each in record.speedup)
    return tuple(shape for shape, _ in counted.most_common())


def speedup_at(record: FinishedRun, shape: Shape) -> Speedup | None:
    """The run's speed-up at a shape; None if it was not timed there."""
    found = (each for each in record.speedup if (each.batch, each.length) == shape)
    return next(found, None)


def known_speedup(record: FinishedRun, shape: Shape) -> Speedup:
    """The run's speed-up at a shape that it was timed at."""
    found = speedup_at(record, shape)
    assert found is not None, "it was timed there"
    return found


def latency_at(metrics: ModelMetrics, shape: Shape) -> Latency | None:
    """A model's times at a shape; None if it was not timed there."""
    found = (each for each in metrics.latency if (each.batch, each.length) == shape)
    return next(found, None)


def shape_name(records: Iterable[FinishedRun], shape: Shape) -> str:
    """What was timed at a shape that one of the runs timed: "1 × 32 tokens"."""
    timed = (latency_at(record.metrics, shape) for record in records)
    return next(shape_words(each) for each in timed if each is not None)


def teacher_ms(records: Iterable[FinishedRun], shape: Shape) -> float:
    """Median over the runs of the teacher's median time at a shape that one of them timed."""
    timed = (latency_at(record.baseline, shape) for record in records)
    return float(np.median([each.median_ms for each in timed if each is not None]))


def compared_ms(speed: Speedup, records: Iterable[FinishedRun]) -> float:
    """Latency where a speed-up was measured, comparable with that of these runs beside it."""
    return teacher_ms(records, (speed.batch, speed.length)) / speed.counted


def score_figure(records: Sequence[FinishedRun]) -> Figure:
    """The score on the evaluation rows, with its 95 % interval; of runs of one section."""
    scores = [record.metrics.score for record in records]
    return Figure(
        kind_of(scores[0]).better,
        np.array([score.value for score in scores]),
        np.array([score.low for score in scores]),
        np.array([score.high for score in scores]),
    )


def size_figure(records: Sequence[FinishedRun]) -> Figure:
    """Size in MB. It is exact, but less than a hundredth of it is config and names of modules."""
    size = np.array([record.metrics.size_bytes / 1e6 for record in records])
    # Two of these overlap where neither size is more than a hundredth above the other.
    return Figure("lower", size, size, size * (1 + SAME_BYTES))


def latency_figure(records: Sequence[FinishedRun], shape: Shape) -> Figure:
    """Latency in ms at a shape, with the interval that the speed-up's 95 % interval gives.

    It is the teacher's where there is no difference that counts.
    """
    teacher = teacher_ms(records, shape)
    speeds = [speedup_at(record, shape) for record in records]
    ratio, low, high = (
        np.array([np.nan if each is None else getattr(each, name) for each in speeds])
        for name in ("counted", "low", "high")
    )
    # Below the noise floor an interval may lie beside 1.
    low, high = np.minimum(low, ratio), np.maximum(high, ratio)
    return Figure("lower", teacher / ratio, teacher / high, teacher / low)


def places(figures: Sequence[Figure]) -> list[Place]:
    """Where each point stands: on the front, as good as one on it, or beaten.

    As good as a point on the front is one off it whose ranges overlap with those of that one point
    in every figure: what was measured does not tell the two apart. A point that lacks a figure
    counts as beaten.
    """
    values = np.stack([figure.values for figure in figures], axis=1)
    known = ~np.isnan(values).any(axis=1)
    front = np.zeros(len(values), dtype=bool)
    front[known] = pareto_front(values[known], [figure.better for figure in figures])
    same = alike(figures, front)
    return [
        FRONT if on else AS_GOOD if tied else BEATEN for on, tied in zip(front, same, strict=True)
    ]


def alike(
    figures: Sequence[Figure], those: Bool[np.ndarray, " points"]
) -> Bool[np.ndarray, " points"]:
    """True for each point whose ranges overlap, in every figure, with those of one of `those`."""
    overlap = [
        (figure.low[:, None] <= figure.high[None, those])
        & (figure.high[:, None] >= figure.low[None, those])
        for figure in figures
    ]
    found: Bool[np.ndarray, " points"] = np.logical_and.reduce(overlap).any(axis=1)
    return found


def run_name(folder: Path, root: Path) -> str:
    """What the report calls a run: its folder below the root, or its own name."""
    inner = folder.relative_to(root) if folder.is_relative_to(root) else folder
    return visible(str(inner) if inner.name else folder.name)
