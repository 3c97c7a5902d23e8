"""How each training went: its losses by step."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bokeh.models import ColumnDataSource, HoverTool, Legend, LegendItem
from bokeh.plotting import figure
from pydantic import ValidationError

from compress.records.curve import CurvePoint
from compress.records.curve import curves as recorded_curves
from compress.report.html.panel import PALETTE, Panel, plain_figure, side_by_side
from compress.report.html.panels.front import Run, front_first
from compress.report.html.panels.labels import run_sign, short
from compress.report.sections import Section

MOST = 8  # curves that are drawn: more colors are not distinguished
NAMED = 4  # runs that a curve's label names
WIDTH, HEIGHT = 540, 350  # pixels
POINTS = 500  # of a curve; of more, evenly spaced ones are drawn

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Training:
    """A training as records tell of it.

    Attributes:
        name: of the stage, and which of its trainings.
        runs: that it was for; runs with the same settings share it.
    """

    name: str
    runs: tuple[str, ...]
    points: tuple[CurvePoint, ...]

    @property
    def label(self) -> str:
        """The runs, of many the first ones."""
        more = len(self.runs) - NAMED
        names = [*self.runs[:NAMED], *([f"{more} more"] if more > 0 else [])]
        return short(", ".join(names), 48)


def curves(section: Section) -> Panel | None:
    """Losses by step, a figure for each stage that trained; None if no record has any."""
    found = trainings(front_first(section.runs, len(section.runs)))
    drawn = found[:MOST]
    if not drawn:
        return None
    words = (
        "Training loss (lines) and, where it was taken, the loss on the validation rows (dashes "
        "and dots): where it rises while the other falls, the training was too long. Stages add "
        "up different losses, so compare curves within a figure only. A training that several "
        "runs share is drawn once. A click in the legend hides a curve."
    )
    if len(drawn) < len(found):
        words += f" Drawn are {len(drawn)} of {len(found)} trainings, the Pareto front's first."
    stages: dict[str, list[Training]] = {}
    for training in drawn:
        stages.setdefault(training.name, []).append(training)
    figures = [_figure(stage, of) for stage, of in stages.items()]
    return Panel("How the trainings went", words, side_by_side(figures))


def trainings(runs: Iterable[Run]) -> list[Training]:
    """The trainings of some runs, each once, in the order in which they are met."""
    sharing: dict[tuple[str, tuple[CurvePoint, ...]], dict[str, None]] = {}
    for folder, record in runs:
        name = run_sign(folder)
        try:
            found = list(recorded_curves(record.history))
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            log.warning("run %s: its learning curves cannot be read: %s", name, reason)
            continue
        for training, points in found:
            sharing.setdefault((training, tuple(points)), {})[name] = None
    return [Training(name, tuple(names), points) for (name, points), names in sharing.items()]


def _figure(stage: str, shown: Sequence[Training]) -> figure:
    """All curves of a stage, the legend below them."""
    chart = plain_figure(
        title=short(stage, 60),
        width=WIDTH,
        height=HEIGHT + 26 * len(shown),
        x_axis_label="step",
        y_axis_label="loss",
    )
    items = []
    for number, training in enumerate(shown):
        color = PALETTE[number % len(PALETTE)]
        trained = [p for p in training.points if p.loss is not None]
        validated = [p for p in training.points if p.validation_loss is not None]
        made = []
        if trained:
            source = _source(training, trained, [p.loss for p in trained])
            made.append(chart.line("step", "loss", source=source, color=color, line_width=2))
        if validated:
            source = _source(training, validated, [p.validation_loss for p in validated])
            made.append(chart.line("step", "loss", source=source, color=color, line_dash="dashed"))
            made.append(chart.scatter("step", "loss", source=source, color=color, size=6))
        items.append(LegendItem(label=training.label, renderers=made))
    tips = [("runs", "@runs"), ("step", "@step"), ("epoch", "@epoch{0.00}"), ("loss", "@loss")]
    chart.add_tools(HoverTool(tooltips=tips))
    legend = Legend(items=items, click_policy="hide", location="top_left", border_line_color=None)
    chart.add_layout(legend, "below")
    return chart


def _source(
    training: Training, points: Sequence[CurvePoint], losses: Sequence[float | None]
) -> ColumnDataSource:
    stride = -(-len(points) // POINTS)
    return ColumnDataSource(
        {
            "step": [point.step for point in points][::stride],
            "epoch": [point.epoch for point in points][::stride],
            "loss": list(losses)[::stride],
            "runs": [training.label] * len(points[::stride]),
        }
    )
