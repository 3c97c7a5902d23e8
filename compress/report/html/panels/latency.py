"""How single forward passes spread: box plots of times."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool
from bokeh.plotting import figure

from compress.records.schema import Latency, ModelMetrics
from compress.records.words import shape_words
from compress.report.html.panel import (
    BLACK,
    NARROW,
    ORANGE,
    SKY,
    Panel,
    named_ticks,
    rows_figure,
    short,
    side_by_side,
)
from compress.report.html.panels.front import front_runs, run_sign, spread
from compress.report.sections import Section

MOST = 8  # boxes of a figure, the baseline's among them
QUANTILES = 21  # 0, 5, … 100 %
# Where the whiskers, the box and the line in it are among these.
PLACES = {"low": 1, "first": 5, "median": 10, "third": 15, "high": 19}
ROW, FRAME = 34, 100  # pixels
LABEL = 16  # letters of a name
BASELINE = "teacher"


def latency(section: Section) -> Panel | None:
    """A figure for each shape; None if no run of the front kept more than a median."""
    told = [run for run in front_runs(section.runs) if _has_quantiles(run[1].metrics)]
    if not told:
        return None
    drawn = spread(told, MOST - 1)
    models = [(short(run_sign(run[0]), LABEL), run[1].metrics) for run in drawn]
    baseline = drawn[0][1].baseline
    if _has_quantiles(baseline):
        models.insert(0, (BASELINE, baseline))
    shapes: dict[str, list[tuple[str, Latency]]] = {}
    for name, metrics in models:
        for times in metrics.latency:
            shapes.setdefault(shape_words(times), []).append((name, times))
    figures = [_figure(shape, timed) for shape, timed in shapes.items()]
    words = (
        "Times of single forward passes of the models on the Pareto front, each measured in its "
        "own run: median (line), quartiles (box) and the 5th to 95th percentile (whiskers). A long "
        "right whisker means occasional slow passes. Compare models by their speed-ups, which are "
        "measured in turns with the teacher."
    )
    if len(drawn) < len(told):
        words += f" {len(drawn)} of {len(told)} models of the front are shown."
    return Panel("How latency spreads", words, side_by_side(figures))


def _has_quantiles(metrics: ModelMetrics) -> bool:
    return all(len(each.quantiles_ms) == QUANTILES for each in metrics.latency)


def _figure(shape: str, timed: Sequence[tuple[str, Latency]]) -> figure:
    """Boxes that lie, so that their names have room; the first one on top."""
    names = [name for name, _ in timed]
    quantiles = np.array([times.quantiles_ms for _, times in timed])
    boxes = {name: quantiles[:, place] for name, place in PLACES.items()}
    chart = rows_figure(
        len(timed),
        title=shape,
        width=NARROW,
        height=ROW * len(timed) + FRAME,
        x_axis_label="latency (ms)",
        x_range=(0, 1.05 * boxes["high"].max()),
    )
    source = ColumnDataSource(
        {
            **boxes,
            "row": list(range(len(timed))),
            "name": names,
            "samples": [times.samples for _, times in timed],
            "color": [ORANGE if name == BASELINE else SKY for name in names],
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
    named_ticks(chart.yaxis[0], names)
    return chart
