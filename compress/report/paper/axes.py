"""The axes of the printed plots: figures of runs, with titles and the teacher's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from compress.records.schema import FinishedRun
from compress.records.score_words import axis_words, is_logarithmic, kind_of
from compress.report.points import (
    Figure,
    Shape,
    latency_figure,
    score_figure,
    size_figure,
    teacher_ms,
)


@dataclass(frozen=True)
class Axis:
    """One figure of all runs of a plot.

    Attributes:
        exact: whether it has no sampling error, so that no bar is drawn.
        baseline: the teacher's own.
        logarithmic: whether its scale is.
    """

    title: str
    figure: Figure
    exact: bool
    baseline: float
    logarithmic: bool = False

    @property
    def values(self) -> Float[np.ndarray, " points"]:
        """The figure itself."""
        return self.figure.values

    def bars(self) -> Float[np.ndarray, "2 points"]:
        """How far the intervals reach below and above the values."""
        if self.exact:
            return np.zeros((2, len(self.values)))
        return np.maximum([self.values - self.figure.low, self.figure.high - self.values], 0)


def score_axis(records: Sequence[FinishedRun]) -> Axis:
    """The score on the evaluation rows."""
    baseline = records[0].baseline.score
    kind, found = kind_of(baseline), score_figure(records)
    title = axis_words(kind, "on held-out rows")
    wide = is_logarithmic(kind, [baseline.value, *found.values])
    return Axis(title, found, False, baseline.value, wide)


def size_axis(records: Sequence[FinishedRun]) -> Axis:
    """Megabytes on disk."""
    baseline = records[0].baseline.size_bytes / 1e6
    return Axis("size on disk (MB)", size_figure(records), True, baseline)


def latency_axis(records: Sequence[FinishedRun], shape: Shape) -> Axis:
    """Milliseconds at a shape that every run was timed at; see `points`."""
    title = f"latency of {shape[0]} × {shape[1]} (ms)"
    return Axis(title, latency_figure(records, shape), False, teacher_ms(records, shape))
