"""The axes of the printed plots: figures of runs, with titles and the teacher's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axis import Axis as AnyAxis
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from compress.records.schema import FinishedRun
from compress.records.score_words import axis_words, is_logarithmic, is_wide, kind_of
from compress.report.controls import control_rows
from compress.report.points import (
    Figure,
    Shape,
    latency_figure,
    score_figure,
    size_figure,
    teacher_ms,
)

MARGIN = 1.08  # of the last point


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
    def ends(self) -> tuple[float, float]:
        """The ends of a scale that has room for everything: from 0, if it is linear."""
        every = [self.baseline, *self.values, *self.controls]
        if self.logarithmic:
            return float(np.nanmin(every)) / MARGIN**2, MARGIN**2 * float(np.nanmax(every))
        return 0.0, MARGIN * float(np.nanmax(every))

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
    found = size_figure(records)
    wide = is_wide([baseline, *found.values, *controls])
    return Axis("size on disk (MB)", found, True, baseline, controls, wide)


def latency_axis(records: Sequence[FinishedRun], shape: Shape) -> Axis:
    """Milliseconds at a shape that every run was timed at; see `points`."""
    title = f"latency of {shape[0]} × {shape[1]} (ms)"
    controls = np.array([row.latency(records, shape) for row in control_rows(records)])
    baseline = teacher_ms(records, shape)
    found = latency_figure(records, shape)
    wide = is_wide([baseline, *found.values, *controls])
    return Axis(title, found, False, baseline, controls, wide)


def plain_marks(axis: AnyAxis) -> None:
    """Numbers along a logarithmic axis: its own marks are formulas, which text is not read for."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(StrMethodFormatter("{x:,.6g}"))
    axis.set_minor_formatter(NullFormatter())
