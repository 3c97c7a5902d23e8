"""The axes of the printed plots: figures of runs, with titles and the teacher's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from compress.records import RunRecord
from compress.report.points import (
    Figure,
    Shape,
    accuracy_figure,
    latency_figure,
    size_figure,
    teacher_ms,
)
from compress.report.words import measured


@dataclass(frozen=True)
class Axis:
    """One figure of all runs of a plot.

    Attributes:
        exact: whether it has no sampling error, so that no bar is drawn.
        baseline: the teacher's own.
    """

    title: str
    figure: Figure
    exact: bool
    baseline: float

    @property
    def values(self) -> Float[np.ndarray, " points"]:
        """The figure itself."""
        return self.figure.values

    def bars(self) -> Float[np.ndarray, "2 points"]:
        """How far the intervals reach below and above the values."""
        if self.exact:
            return np.zeros((2, len(self.values)))
        return np.maximum([self.values - self.figure.low, self.figure.high - self.values], 0)


def accuracy_axis(records: Sequence[RunRecord]) -> Axis:
    """Accuracy on the evaluation rows."""
    baseline = measured(records[0])[1].score.value
    return Axis("accuracy on held-out rows", accuracy_figure(records), False, baseline)


def size_axis(records: Sequence[RunRecord]) -> Axis:
    """Megabytes on disk."""
    baseline = measured(records[0])[1].size_bytes / 1e6
    return Axis("size on disk (MB)", size_figure(records), True, baseline)


def latency_axis(records: Sequence[RunRecord], shape: Shape) -> Axis:
    """Milliseconds at a shape that every run was timed at; see `points`."""
    title = f"latency of {shape[0]} × {shape[1]} (ms)"
    return Axis(title, latency_figure(records, shape), False, teacher_ms(records, shape))
