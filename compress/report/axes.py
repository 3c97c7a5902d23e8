"""What a plot draws: figures of runs with their intervals, and which of them are on a front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from compress.pareto import Direction, overlap, pareto_front
from compress.records import RunRecord
from compress.report.words import measured


@dataclass(frozen=True)
class Axis:
    """One figure of all runs of a plot.

    Attributes:
        low: lower ends of the values' 95 % intervals; the values themselves where exact.
        high: upper ends of them.
        baseline: the teacher's own.
    """

    title: str
    better: Direction
    values: Float[np.ndarray, " points"]
    low: Float[np.ndarray, " points"]
    high: Float[np.ndarray, " points"]
    baseline: float

    def bars(self) -> Float[np.ndarray, "2 points"]:
        """How far the intervals reach below and above the values."""
        return np.maximum([self.values - self.low, self.high - self.values], 0)


def accuracy_axis(records: Sequence[RunRecord]) -> Axis:
    """Accuracy on the evaluation rows with its Wilson interval."""
    scores = [measured(record)[0].score for record in records]
    return Axis(
        "accuracy on held-out rows",
        "higher",
        np.array([score.accuracy for score in scores]),
        np.array([score.accuracy_low for score in scores]),
        np.array([score.accuracy_high for score in scores]),
        measured(records[0])[1].score.accuracy,
    )


def size_axis(records: Sequence[RunRecord]) -> Axis:
    """Bytes on disk, which are exact."""
    size = np.array([measured(record)[0].size_bytes / 1e6 for record in records])
    baseline = measured(records[0])[1].size_bytes / 1e6
    return Axis("size on disk (MB)", "lower", size, size, size, baseline)


def latency_axis(records: Sequence[RunRecord]) -> Axis:
    """The teacher's median over all runs, divided by each run's own speed-up over it.

    Milliseconds of different runs differ with whatever else the machine did; the ratio to the
    teacher that was timed in turns with the candidate does not.
    """
    speeds = [record.speedup[0] for record in records]
    teacher = float(np.median([measured(record)[1].latency[0].median_ms for record in records]))
    return Axis(
        f"latency of {speeds[0].batch} × {speeds[0].length} (ms)",
        "lower",
        teacher / np.array([speed.ratio for speed in speeds]),
        teacher / np.array([speed.high for speed in speeds]),
        teacher / np.array([speed.low for speed in speeds]),
        teacher,
    )


def front_of(axes: Sequence[Axis]) -> Bool[np.ndarray, " points"]:
    """True for each run that no other one beats in these figures."""
    values = np.stack([axis.values for axis in axes], axis=1)
    return pareto_front(values, [axis.better for axis in axes])


def close_to(
    front: Bool[np.ndarray, " points"], axes: Sequence[Axis]
) -> Bool[np.ndarray, " points"]:
    """True for each run off the front whose intervals overlap with one run's on it, in all figures.

    Another measurement might as well have put it there. An exact figure has to be the same.
    """
    rows = [int(row) for row in np.flatnonzero(front)]
    return np.array([not on and any(_same(axes, i, j) for j in rows) for i, on in enumerate(front)])


def _same(axes: Sequence[Axis], one: int, other: int) -> bool:
    return all(
        overlap(axis.low[one], axis.high[one], axis.low[other], axis.high[other]) for axis in axes
    )
