"""The axes of the printed plots: figures of runs, with titles and the teacher's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from compress.records.schema import FinishedRun
from compress.records.score_words import axis_words, is_logarithmic, kind_of
from compress.report.controls import control_rows
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
        controls: those of the controls, in the order of `control_rows`; NaN where there is none.
        logarithmic: whether its scale is.
    """

    title: str
    figure: Figure
    exact: bool
    baseline: float
    controls: Float[np.ndarray, " controls"]
    logarithmic: bool = False

    @property
    def values(self) -> Float[np.ndarray, " points"]:
        """The figure itself."""
        return self.figure.values

    @property
    def end(self) -> float:
        """The end of a linear scale from 0 that has room for everything."""
        return float(1.08 * np.nanmax([self.baseline, *self.values, *self.controls]))

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
    controls = np.array([row.record.metrics.score.value for row in control_rows(records)])
    wide = is_logarithmic(kind, [baseline.value, *found.values, *controls])
    return Axis(title, found, False, baseline.value, controls, wide)


def size_axis(records: Sequence[FinishedRun]) -> Axis:
    """Megabytes on disk."""
    baseline = records[0].baseline.size_bytes / 1e6
    controls = np.array([row.record.metrics.size_bytes / 1e6 for row in control_rows(records)])
    return Axis("size on disk (MB)", size_figure(records), True, baseline, controls)


def latency_axis(records: Sequence[FinishedRun], shape: Shape) -> Axis:
    """Milliseconds at a shape that every run was timed at; see `points`."""
    title = f"latency of {shape[0]} × {shape[1]} (ms)"
    controls = np.array([row.latency(records, shape) for row in control_rows(records)])
    baseline = teacher_ms(records, shape)
    return Axis(title, latency_figure(records, shape), False, baseline, controls)
