"""How single forward passes spread: box plots of times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bokeh.models import ColumnDataSource, HoverTool, Range1d
from bokeh.plotting import figure

from compress.records.schema import ModelMetrics
from compress.records.words import shape_words
from compress.report.html.panel import (
    BLACK,
    ORANGE,
    SKY,
    Panel,
    named_ticks,
    plain_figure,
    side_by_side,
)
from compress.report.html.panels.front import front_runs, spread
from compress.report.html.panels.labels import run_label
from compress.report.sections import Section

MOST = 8  # boxes of a figure, the baseline's among them
QUANTILES = 21  # 0, 5, … 100 %
# Where the whiskers, the box and the line in it are among these.
LOW, FIRST, MEDIAN, THIRD, HIGH = 1, 5, 10, 15, 19
WIDTH, ROW, FRAME = 760, 34, 100  # pixels
BASELINE = "teacher"


@dataclass(frozen=True)
class Box:
    """The times of one model at one shape, in milliseconds.

    Attributes:
        quantiles_ms: from 0 to 100 % in steps of 5 %.
    """

    name: str
    quantiles_ms: tuple[float, ...]
    samples: int


def latency(section: Section) -> Panel | None:
    """A figure for each shape; None if no run of the front kept more than a median."""
    told = [run for run in front_runs(section.runs) if _has_quantiles(run[1].metrics)]
    if not told:
        return None
    drawn = spread(told, MOST - 1)
    models = [(run_label(*run), run[1].metrics) for run in drawn]
    baseline = drawn[0][1].baseline
    if _has_quantiles(baseline):
        models.insert(0, (BASELINE, baseline))
    figures = []
    for place, shape in enumerate(models[0][1].latency):
        boxes = [
            Box(name, metrics.latency[place].quantiles_ms, metrics.latency[place].samples)
            for name, metrics in models
        ]
        figures.append(_figure(shape_words(shape), boxes))
    words = (
        "Times of single forward passes of the models on the Pareto front, each measured in its "
        "own run: the line is the median, the box holds the middle half, and nine of ten passes "
        "lie between the ends of the whiskers. A long right whisker is what a user waits for now "
        "and then. Compare speed by the speed-ups, which are taken in turns with the teacher."
    )
    if len(drawn) < len(told):
        words += f" Drawn are {len(drawn)} of {len(told)} models of the front."
    return Panel("How latency spreads", words, side_by_side(figures))


def _has_quantiles(metrics: ModelMetrics) -> bool:
    return all(len(each.quantiles_ms) == QUANTILES for each in metrics.latency)


def _figure(title: str, boxes: Sequence[Box]) -> figure:
    """Boxes that lie, so that their names have room; the first one on top."""
    longest = max(box.quantiles_ms[HIGH] for box in boxes)
    chart = plain_figure(
        title=title,
        width=WIDTH,
        height=ROW * len(boxes) + FRAME,
        tools="",
        toolbar_location=None,
        x_axis_label="latency (ms)",
        x_range=Range1d(0, 1.05 * longest),
        y_range=Range1d(len(boxes) - 0.4, -0.6),
    )
    places = {"low": LOW, "first": FIRST, "median": MEDIAN, "third": THIRD, "high": HIGH}
    source = ColumnDataSource(
        {
            **{name: [box.quantiles_ms[i] for box in boxes] for name, i in places.items()},
            "row": list(range(len(boxes))),
            "name": [box.name for box in boxes],
            "samples": [box.samples for box in boxes],
            "color": [ORANGE if box.name == BASELINE else SKY for box in boxes],
        }
    )
    chart.segment("low", "row", "high", "row", source=source, color=BLACK)
    bars = chart.hbar(
        "row", left="first", right="third", height=0.6, source=source, fill_color="color",
        line_color=BLACK,
    )  # fmt: skip
    chart.scatter(
        "median", "row", source=source, marker="dash", angle=1.5708, size=20, color=BLACK,
        line_width=3,
    )  # fmt: skip
    tips = [("", "@name"), ("median", "@median{0.00} ms"), ("5 %", "@low{0.00} ms")]
    tips += [("95 %", "@high{0.00} ms"), ("passes", "@samples")]
    chart.add_tools(HoverTool(renderers=[bars], tooltips=tips))
    chart.ygrid.visible = False
    named_ticks(chart.yaxis[0], [box.name for box in boxes])
    return chart
