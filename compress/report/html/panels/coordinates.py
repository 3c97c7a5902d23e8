"""All trials of a search at once: parallel coordinates of what was set and what came of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from bokeh.models import HoverTool
from bokeh.plotting import figure
from bokeh.transform import transform

from compress.analysis.effects import level_order
from compress.records.metrics import METRICS
from compress.records.recipe import recipe
from compress.records.schema import Score
from compress.records.score_words import is_logarithmic, kind_of, most_words, wanted_words
from compress.report.html.panel import (
    GREY,
    Panel,
    plain_figure,
    score_bar,
    score_colors,
    short,
)
from compress.search.past import PastSearch, PastTrial

MOST, MOST_AXES = 400, 14  # lines and axes that are drawn
APART, MARGIN, HEIGHT = 106, 150, 430  # pixels
NOT_SET, BAND = -0.14, 0.05  # where lines pass an axis that they have no value on; how far apart
FEW = 6  # values of a numeric axis that are all named; of more, five marks
CLEAR = 60  # lines that can be followed one by one; of more each is fainter
WIDE = 100.0  # largest over smallest value from which an axis is logarithmic


@dataclass(frozen=True)
class Axis:
    """One of the vertical axes.

    Attributes:
        places: of each trial, from 0 at the bottom to 1 at the top.
        ticks: place and label of each mark.
    """

    title: str
    places: Sequence[float]
    ticks: Sequence[tuple[float, str]]


def coordinates(search: PastSearch, remark: str) -> Panel | None:
    """A line for each finished trial, and a remark; None where nothing was searched."""
    if len(search.trials) < 2 or not search.keys:
        return None
    ordered = sorted(search.trials, key=lambda trial: -_score(search, trial).quality)
    # The best come last, on top of the others.
    trials = ordered[:MOST][::-1]
    kind = kind_of(_score(search, trials[0]))
    axes = _axes(search, trials)
    words = (
        "Each line is a trial, with its settings on the left and its objectives on the right; dark "
        f"is {wanted_words(kind)}, on the {search.goals.split} rows. Faint lines violate a "
        "constraint. Click a line to show it alone."
    )
    if len(trials) < len(search.trials):
        words += f" The {MOST} {most_words(kind)} of {len(search.trials)} trials are shown."
    hidden = len(search.keys) + len(search.goals.objectives) - len(axes)
    if hidden:
        words += f" {hidden} settings are not shown: there are at most {MOST_AXES} axes."
    return Panel("All trials", f"{words} {remark}".strip(), _chart(search, trials, axes))


def _axes(search: PastSearch, trials: Sequence[PastTrial]) -> list[Axis]:
    """The settings in the order of the command line, and then the objectives."""
    objectives = list(search.goals.objectives)
    keys = search.keys[: MOST_AXES - len(objectives)]
    axes = [setting_axis(key, [trial.point.get(key) for trial in trials]) for key in keys]
    for place, name in enumerate(objectives):
        scale, unit = (1e6, "\n(MB)") if METRICS[name].unit == "bytes" else (1.0, "")
        values = [trial.values[place] / scale for trial in trials]
        axes.append(_numbers(name.removesuffix("_bytes") + unit, values))
    return axes


def setting_axis(key: str, written: Sequence[str | None]) -> Axis:
    """The axis of a setting: of numbers if all values are numbers, else of words in their order.

    Values are as on the command line; a trial without one has None.
    """
    group, _, name = key.rpartition(".")
    title = "\n".join([short(f"{group}.", 15), short(name, 15)]) if group else short(name, 15)
    levels = sorted({value for value in written if value is not None}, key=level_order)
    numbers = [level_order(level)[0] for level in levels]
    if len(levels) > 1 and all(map(math.isfinite, numbers)):
        values = [None if value is None else float(value) for value in written]
        return _numbers(title, values)
    at = dict(zip(levels, np.linspace(0, 1, len(levels)).tolist(), strict=True))
    # Else all lines of a level would leave it as one.
    apart = np.linspace(-BAND, BAND, len(written))
    places = np.array([NOT_SET if value is None else at[value] for value in written]) + apart
    ticks = [(place, short(level, 16)) for level, place in at.items()]
    return Axis(title, places.tolist(), ticks + _not_set(written))


def _numbers(title: str, values: Sequence[float | None]) -> Axis:
    known = sorted({value for value in values if value is not None})
    low, high = known[0], known[-1]
    logarithmic = low > 0 and high / low >= WIDE

    def place(value: float) -> float:
        if low == high:
            return 0.5
        if logarithmic:
            return math.log(value / low) / math.log(high / low)
        return (value - low) / (high - low)

    if len(known) > FEW:
        known = (np.geomspace if logarithmic else np.linspace)(low, high, 5).tolist()
    ticks = [(place(value), f"{value:.3g}") for value in known]
    places = [NOT_SET if value is None else place(value) for value in values]
    return Axis(title, places, ticks + _not_set(values))


def _not_set(values: Sequence[object]) -> list[tuple[float, str]]:
    return [(NOT_SET, "not set")] if None in values else []


def _chart(search: PastSearch, trials: Sequence[PastTrial], axes: Sequence[Axis]) -> figure:
    chart = plain_figure(
        width=APART * len(axes) + MARGIN,
        height=HEIGHT,
        tools="tap,save",
        x_range=(-0.4, len(axes) - 0.2),
        y_range=(NOT_SET - 0.08, 1.22),
    )
    chart.axis.visible = False
    chart.grid.visible = False
    chart.outline_line_color = None
    scores = [_score(search, trial) for trial in trials]
    kind, values = kind_of(scores[0]), [score.value for score in scores]
    logarithmic = is_logarithmic(kind, values)
    colors = score_colors(kind, min(values), max(values), logarithmic=logarithmic)
    strong = min(0.9, max(0.35, CLEAR / len(trials)))
    source = {
        "xs": [list(range(len(axes))) for _ in trials],
        "ys": np.transpose([axis.places for axis in axes]).tolist(),
        "color": values,
        "alpha": [strong if trial.feasible else 0.3 * strong for trial in trials],
        "trial": [trial.number for trial in trials],
        "recipe": [recipe(trial.record) for trial in trials],
        "told": [_told(search, trial) for trial in trials],
    }
    lines = chart.multi_line(
        "xs", "ys", source=source, line_width=2, line_alpha="alpha", nonselection_line_alpha=0.05,
        line_color=transform("color", colors),
    )  # fmt: skip
    tips = [("trial", "@trial"), ("recipe", "@recipe"), ("", "@told")]
    chart.add_tools(HoverTool(renderers=[lines], tooltips=tips))
    chart.add_layout(score_bar(kind, colors, width=14), "right")
    for x, axis in enumerate(axes):
        _draw_axis(chart, x, axis)
    return chart


def _draw_axis(chart: figure, x: int, axis: Axis) -> None:
    chart.segment(x, 0, x, 1, color=GREY, line_width=2)
    chart.text(
        x, 1.08, text=[axis.title], text_align="center", text_font_size="13px",
        text_font_style="bold", text_baseline="bottom",
    )  # fmt: skip
    places, labels = zip(*axis.ticks, strict=True)
    chart.text(
        [x] * len(places), list(places), text=list(labels), x_offset=5, text_font_size="12px",
        text_baseline="middle", background_fill_color="white", background_fill_alpha=0.9,
    )  # fmt: skip


def _score(search: PastSearch, trial: PastTrial) -> Score:
    return trial.record.metrics.score_on(search.goals.split)


def _told(search: PastSearch, trial: PastTrial) -> str:
    """The objectives in words, and whether the trial may be chosen."""
    values = zip(search.goals.objectives, trial.values, strict=True)
    words = ", ".join(f"{name} {value:.5g}" for name, value in values)
    return words if trial.feasible else f"{words}; breaks a constraint"
