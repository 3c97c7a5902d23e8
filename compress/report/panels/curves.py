"""How each training went: its losses by step."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bokeh.models import ColumnDataSource, HoverTool, Legend, LegendItem
from bokeh.plotting import figure
from pydantic import TypeAdapter, ValidationError

from compress.report.panel import PALETTE, Panel, plain_figure, side_by_side
from compress.report.panels.front import Run, front_first
from compress.report.panels.labels import run_name, short
from compress.report.sections import Section

MOST = 8  # curves that are drawn: more colours are not told apart
NAMED = 4  # runs that a curve's label names
WIDTH, HEIGHT = 540, 350  # pixels
POINTS = 500  # of a curve; of more, evenly spaced ones are drawn

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Point:
    """A place on a curve.

    Attributes:
        step: updates of the weights by then.
        epoch: passes over the training rows by then.
        loss: mean since the point before; null where only the validation loss was taken.
        validation_loss: on the validation rows; null where it was not taken.
    """

    step: int
    epoch: float
    loss: float | None = None
    validation_loss: float | None = None


@dataclass(frozen=True)
class Training:
    """A training as records tell of it.

    Attributes:
        runs: that it was for; runs with the same settings share it.
        written: its points, as JSON.
    """

    stage: str
    runs: tuple[str, ...]
    written: str

    @property
    def label(self) -> str:
        """The runs, of many the first ones."""
        more = len(self.runs) - NAMED
        names = [*self.runs[:NAMED], *([f"{more} more"] if more > 0 else [])]
        return short(", ".join(names), 48)


@dataclass(frozen=True)
class Curve:
    """What is drawn of a training."""

    stage: str
    label: str
    points: tuple[Point, ...]


def curves(section: Section) -> Panel | None:
    """Losses by step, a figure for each stage that trained; None if no record has any."""
    found = trainings(front_first(section.runs, len(section.runs)))
    drawn = [curve for curve in map(read_curve, found[:MOST]) if curve is not None]
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
    stages: dict[str, list[Curve]] = {}
    for curve in drawn:
        stages.setdefault(curve.stage, []).append(curve)
    figures = [_figure(stage, of) for stage, of in stages.items()]
    return Panel("How the trainings went", words, side_by_side(figures))


def trainings(runs: Iterable[Run]) -> list[Training]:
    """The trainings of some runs, each once, in the order in which they are met."""
    sharing: dict[tuple[str, str], dict[str, None]] = {}
    for folder, record in runs:
        seen: Counter[str] = Counter()
        for step in record.history:
            points = (step.get("notes") or {}).get("curve")
            if points:
                stage = str(step.get("stage"))
                seen[stage] += 1
                # A stage that trains twice, such as a pruner with its recovery, has two steps.
                name = stage if seen[stage] == 1 else f"{stage}, training {seen[stage]}"
                sharing.setdefault((name, json.dumps(points)), {})[run_name(folder)] = None
    return [Training(stage, tuple(names), written) for (stage, written), names in sharing.items()]


def read_curve(training: Training) -> Curve | None:
    """Its points; None, with a warning, if it has none that can be read."""
    try:
        points = TypeAdapter(tuple[Point, ...]).validate_json(training.written)
    except ValidationError as error:
        reason, run = error.errors()[0]["msg"], training.runs[0]
        log.warning("run %s: the curve of %s cannot be read: %s", run, training.stage, reason)
        return None
    return Curve(training.stage, training.label, points)


def _figure(stage: str, shown: Sequence[Curve]) -> figure:
    """All curves of a stage, the legend below them."""
    chart = plain_figure(
        title=short(stage, 60),
        width=WIDTH,
        height=HEIGHT + 26 * len(shown),
        x_axis_label="step",
        y_axis_label="loss",
    )
    items = []
    for number, curve in enumerate(shown):
        colour = PALETTE[number % len(PALETTE)]
        trained = [p for p in curve.points if p.loss is not None]
        validated = [p for p in curve.points if p.validation_loss is not None]
        made = []
        if trained:
            source = _source(curve, trained, [p.loss for p in trained])
            made.append(chart.line("step", "loss", source=source, color=colour, line_width=2))
        if validated:
            source = _source(curve, validated, [p.validation_loss for p in validated])
            made.append(chart.line("step", "loss", source=source, color=colour, line_dash="dashed"))
            made.append(chart.scatter("step", "loss", source=source, color=colour, size=6))
        items.append(LegendItem(label=curve.label, renderers=made))
    tips = [("runs", "@runs"), ("step", "@step"), ("epoch", "@epoch{0.00}"), ("loss", "@loss")]
    chart.add_tools(HoverTool(tooltips=tips))
    legend = Legend(items=items, click_policy="hide", location="top_left", border_line_color=None)
    chart.add_layout(legend, "below")
    return chart


def _source(
    curve: Curve, points: Sequence[Point], losses: Sequence[float | None]
) -> ColumnDataSource:
    stride = -(-len(points) // POINTS)
    return ColumnDataSource(
        {
            "step": [point.step for point in points][::stride],
            "epoch": [point.epoch for point in points][::stride],
            "loss": list(losses)[::stride],
            "runs": [curve.label] * len(points[::stride]),
        }
    )
