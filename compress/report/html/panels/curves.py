"""How each training went: its losses by step."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from bokeh.models import ColumnDataSource, Legend, LegendItem
from bokeh.plotting import figure
from pydantic import ValidationError

from compress.records.curve import CurvePoint
from compress.records.curve import curves as recorded_curves
from compress.report.html.panel import (
    NARROW,
    PALETTE,
    Panel,
    plain_figure,
    short,
    side_by_side,
)
from compress.report.html.panels.front import Run, front_first, run_sign
from compress.report.sections import Section

MOST = 8  # curves that are drawn: more colors are not distinguished
NAMED = 4  # runs that a curve's label names
HEIGHT = 300  # pixels
Curve: TypeAlias = tuple[CurvePoint, ...]

log = logging.getLogger(__name__)


def curves(section: Section) -> Panel | None:
    """Losses by step, a figure for each stage that trained; None if no record has any."""
    found = trainings(front_first(section.runs, len(section.runs)))
    if not found:
        return None
    words = (
        "Training loss (lines) and validation loss, if computed (dashes, dots): where the second "
        "rises and the first falls, training was too long. Stages sum different losses, so "
        "compare curves within a figure only. A training shared by several runs is shown once. "
        "Click the legend to hide a curve."
    )
    if len(found) > MOST:
        words += f" {MOST} of {len(found)} trainings are shown, those of the Pareto front first."
    stages: dict[str, list[tuple[str, Curve]]] = {}
    for (stage, points), runs in list(found.items())[:MOST]:
        stages.setdefault(stage, []).append((_label(list(runs)), points))
    figures = [_figure(stage, shown) for stage, shown in stages.items()]
    return Panel("Training curves", words, side_by_side(figures))


def trainings(runs: Iterable[Run]) -> Mapping[tuple[str, Curve], Iterable[str]]:
    """By stage and curve, the runs that share the training, in the order in which they are met."""
    sharing: dict[tuple[str, Curve], dict[str, None]] = {}
    for folder, record in runs:
        name = run_sign(folder)
        try:
            found = list(recorded_curves(record.history))
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            log.warning("run %s: its learning curves cannot be read: %s", name, reason)
            continue
        for stage, points in found:
            sharing.setdefault((stage, tuple(points)), {})[name] = None
    return sharing


def _label(runs: Sequence[str]) -> str:
    """The runs, of many the first ones."""
    more = [f"{len(runs) - NAMED} more"] if len(runs) > NAMED else []
    return short(", ".join([*runs[:NAMED], *more]), 34)


def _figure(stage: str, shown: Sequence[tuple[str, Curve]]) -> figure:
    """All curves of a stage, the legend with the runs of each below them."""
    chart = plain_figure(
        title=short(stage, 30),
        width=NARROW,
        height=HEIGHT + 26 * len(shown),
        x_axis_label="step",
        y_axis_label="loss",
        tooltips=[
            ("runs", "@runs"), ("step", "@step"), ("epoch", "@epoch{0.00}"), ("loss", "@loss"),
        ],
    )  # fmt: skip
    items = []
    for (label, points), color in zip(shown, PALETTE, strict=False):
        trained = _source(label, points, "loss")
        validated = _source(label, points, "validation_loss")
        made = []
        if trained.data["step"]:
            made.append(chart.line("step", "loss", source=trained, color=color, line_width=2))
        if validated.data["step"]:
            looks = {"source": validated, "color": color}
            made.append(chart.line("step", "loss", line_dash="dashed", **looks))
            made.append(chart.scatter("step", "loss", size=6, **looks))
        items.append(LegendItem(label=label, renderers=made))
    legend = Legend(items=items, click_policy="hide", location="top_left", border_line_color=None)
    chart.add_layout(legend, "below")
    return chart


def _source(label: str, points: Curve, loss: str) -> ColumnDataSource:
    """The points that have this loss."""
    taken = [point for point in points if getattr(point, loss) is not None]
    return ColumnDataSource(
        {
            "step": [point.step for point in taken],
            "epoch": [point.epoch for point in taken],
            "loss": [getattr(point, loss) for point in taken],
            "runs": [label] * len(taken),
        }
    )
