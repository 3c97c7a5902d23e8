"""Where the names of runs stand in the page's plots: beside their points, off each other, uncut."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.transforms import Bbox

from compress.records.score_words import is_wide
from compress.report.html.panel import short
from compress.report.labels import place_labels
from compress.report.plotted import PLACES, Columns

# Pixels inside the axes where the page is narrowest: in a wider plot, points lie further apart.
# A bar of colors takes its part of the last one.
HIGH = 290.0
WIDE = {"place_size": 255.0, "place_latency": 255.0, "place_cost": 160.0}
EDGE = 4  # pixels that a name keeps away from the axes
LETTER, HEIGHT = 8.6, 15  # pixels of the page's type
CLEARANCE = 8  # pixels between a name and a point, which is a dot, a star or a ring of some size
LONGEST = 22  # letters of a name
PADDING = 0.05  # of a plot's span that Bokeh leaves free at either end


def name_columns(
    columns: Columns, beside: Sequence[Columns], *, logarithmic_scores: bool
) -> Columns:
    """Names, and by plot how far from its point the center of each stands, in pixels.

    Args:
        columns: of the runs at one shape, with the ends of their intervals.
        beside: what else is drawn: teachers, controls.
        logarithmic_scores: whether the scale of the scores is.
    """
    names = [short(name, LONGEST) for name in columns["run"]]
    sizes = np.array([[LETTER * len(name), HEIGHT] for name in names])
    found: dict[str, object] = {"name": names}
    costs = {axis: is_wide(_together(axis, (columns, *beside))) for axis in ("mb", "latency")}
    logarithmic = {"score": logarithmic_scores, **costs}
    for place, axes in PLACES.items():
        sides = (WIDE[place], HIGH)
        every = {axis: _together(axis, (columns, *beside)) for axis in axes}
        # What lacks one of the two figures is not drawn.
        known = np.logical_and.reduce([np.isfinite(values) for values in every.values()])
        timed = known[: len(names)]
        spots = np.stack(
            [
                _pixels(every[axis][known], _ends(columns, axis)[np.tile(timed, 2)], length,
                        logarithmic=logarithmic[axis], from_zero=axis != "score")
                for axis, length in zip(axes, sides, strict=True)
            ],
            axis=1,
        )  # fmt: skip
        anchors = spots[: timed.sum()]
        offsets = np.zeros((len(names), 2))
        frame = Bbox([(0, 0), sides]).padded(-EDGE)
        centers = place_labels(anchors, sizes[timed], spots, frame, CLEARANCE)
        offsets[timed] = centers - anchors
        # On the screen y grows downwards.
        found[f"right_{place}"], found[f"down_{place}"] = offsets[:, 0], -offsets[:, 1]
    return found


def _together(axis: str, drawn: Sequence[Columns]) -> Float[np.ndarray, " points"]:
    return np.concatenate([np.asarray(each[axis], float) for each in drawn])


def _ends(columns: Columns, axis: str) -> Float[np.ndarray, " ends"]:
    """Both ends of the runs' intervals; the values themselves where there is none."""
    names = (f"{axis}_low", f"{axis}_high")
    return np.concatenate([np.asarray(columns.get(name, columns[axis]), float) for name in names])


def _pixels(
    values: Float[np.ndarray, " points"],
    ends: Float[np.ndarray, " ends"],
    length: float,
    *,
    logarithmic: bool,
    from_zero: bool,
) -> Float[np.ndarray, " points"]:
    """Where values lie along a side of the frame, which has room for the intervals' ends.

    Of its scale is said whether it is logarithmic, and whether a linear one begins at zero.
    """
    drawn = np.concatenate([values, ends])
    if logarithmic:
        values, drawn = np.log(values), np.log(drawn)
    low, high = drawn.min(initial=np.inf), drawn.max(initial=-np.inf)
    if from_zero and not logarithmic:
        low = 0.0
    span = max(high - low, 1e-9)
    share: Float[np.ndarray, " points"] = (values - low + PADDING * span) / span
    return share / (1 + 2 * PADDING) * length
