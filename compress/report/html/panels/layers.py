"""What is left of each layer: zeros, width and rank of every compressible weight."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bokeh.models import (
    Column,
    ColumnDataSource,
    HoverTool,
    LayoutDOM,
    Legend,
    LegendItem,
    NumeralTickFormatter,
    Range1d,
)
from bokeh.plotting import figure

from compress.records.schema import LayerWeights
from compress.report.html.panel import PALETTE, Panel, named_ticks, plain_figure, side_by_side
from compress.report.html.panels.front import front_runs, spread
from compress.report.html.panels.labels import run_label, short
from compress.report.sections import Section

# A share less away from that of an untouched weight shows on no chart: int8 rounds 1 % to zero.
NOTICED = 0.02
MOST, MOST_LAYERS = 4, 32  # models that are drawn, and layers of one
WIDTH, HEIGHT = 480, 130  # pixels of a chart's frame
INDEX = re.compile(r"(?P<front>.*?)\.(?P<layer>\d+)\.(?P<kind>.+)\.weight")
DOWN, UP = ".down", ".up"  # the two that a weight of low rank is stored as


@dataclass(frozen=True)
class Left:
    """What is left of one weight, as shares of the baseline's weight of that name.

    Attributes:
        layer: the transformer's, from 0.
        kind: which of its weights: "query", "intermediate".
        zeros: share of what is stored that is zero.
        rows: null where the baseline has no such weight, or where what is stored has no such shape.
        columns: likewise.
        rank: of a weight that is stored as two, by the largest that it could have; else 1.
    """

    layer: int
    kind: str
    zeros: float
    rows: float | None
    columns: float | None
    rank: float


@dataclass(frozen=True)
class Chart:
    """One of the charts of a model.

    Attributes:
        untouched: what it shows of a weight that nothing was done to.
    """

    title: str
    read: Callable[[Left], float | None]
    untouched: float


CHARTS = (
    Chart("zeros", lambda left: left.zeros, 0.0),
    Chart("rows kept", lambda left: left.rows, 1.0),
    Chart("columns kept", lambda left: left.columns, 1.0),
    Chart("rank kept", lambda left: left.rank, 1.0),
)


def layers(section: Section) -> Panel | None:
    """Charts for models of the front; None if nothing shows in their layers."""
    told = []
    for run in front_runs(section.runs):
        ours, theirs = run[1].metrics, run[1].baseline
        left = what_is_left(ours.layers, theirs.layers)
        charts = [chart for chart in CHARTS if any(_shows(chart, each) for each in left)]
        if charts:
            told.append((run_label(*run), left, charts))
    if not told:
        return None
    words = (
        "What is left of the weights inside the transformer's layers, as shares of the teacher's "
        "weight of the same name: zeros, output rows, input columns, and rank where a weight is "
        "stored as two. A chart is left out where nothing shows. Layers of a student that has "
        "fewer are counted anew."
    )
    drawn = spread(told, MOST)
    if len(drawn) < len(told):
        words += f" Drawn are {len(drawn)} of {len(told)} models of the Pareto front."
    models = [_model(*model) for model in drawn]
    return Panel("What is left of each layer", words, side_by_side(models))


def what_is_left(ours: Sequence[LayerWeights], theirs: Sequence[LayerWeights]) -> list[Left]:
    """Every weight of a model that lies in a numbered layer, against the baseline's.

    Args:
        ours: the model's compressible weights; two that stand for one are told as that one.
        theirs: the baseline's.
    """
    baseline = {each.name: each.shape for each in theirs}
    held = {each.name: each for each in ours}
    found = []
    for name, weight in held.items():
        whole, end = _whole(name)
        pair = [held.get(f"{whole}{half}.weight") for half in (DOWN, UP)]
        if end and f"{whole}.weight" in baseline and None not in pair:
            if end == DOWN:
                halves = [half for half in pair if half is not None]
                found.append(_left(f"{whole}.weight", halves, baseline))
        else:
            found.append(_left(name, [weight], baseline))
    return [left for left in found if left is not None]


def kinds(names: Sequence[str]) -> dict[str, str]:
    """The shortest end of each path by which it is told from the others: "query".

    Args:
        names: paths of weights inside a layer, such as "attention.self.query".
    """
    parts = {name: name.removesuffix(".dense").split(".") for name in dict.fromkeys(names)}

    def told(name: str) -> str:
        own = parts[name]
        others = [other for key, other in parts.items() if key != name]
        for count in range(1, len(own)):
            if not any(other[-count:] == own[-count:] for other in others):
                return ".".join(own[-count:])
        return ".".join(own)

    return {name: told(name) for name in parts}


def _whole(name: str) -> tuple[str, str]:
    """A weight's module without its last part if that may be half of a pair, and that part."""
    owner = name.removesuffix(".weight")
    end = next((half for half in (DOWN, UP) if owner.endswith(half)), "")
    return owner.removesuffix(end), end


def _left(
    name: str, stored: Sequence[LayerWeights], baseline: Mapping[str, tuple[int, ...]]
) -> Left | None:
    """What is left of one weight; None if it lies in no numbered layer.

    Args:
        name: the weight's in the baseline.
        stored: it alone, or the two, down and up, that it is stored as.
        baseline: the shapes by name.
    """
    match = INDEX.fullmatch(name)
    if match is None:
        return None
    entries = sum(math.prod(each.shape) for each in stored)
    zeros = sum(each.zeros for each in stored) / max(1, entries)
    shape, rank = stored[0].shape, None
    if len(stored) == 2:
        down, up = stored
        # Some runtimes store matrices transposed; the rank is less than the two other sides.
        shape, rank = (max(up.shape), max(down.shape)), min(*down.shape, *up.shape)
    before = baseline.get(name, ())
    rows, columns = _kept(shape, before)
    rank_kept = 1.0 if rank is None else rank / min(before)
    return Left(int(match["layer"]), match["kind"], zeros, rows, columns, rank_kept)


def _kept(
    shape: tuple[int, ...], before: tuple[int, ...]
) -> tuple[float, float] | tuple[None, None]:
    """Shares of the rows and the columns; none where a format stores another shape."""
    if len(shape) != 2 or len(before) != 2:
        return None, None
    for now in (shape, shape[::-1]):
        if now[0] <= before[0] and now[1] <= before[1]:
            return now[0] / before[0], now[1] / before[1]
    return None, None


def _shows(chart: Chart, left: Left) -> bool:
    value = chart.read(left)
    return value is not None and abs(value - chart.untouched) > NOTICED


def _model(title: str, left: Sequence[Left], charts: Sequence[Chart]) -> LayoutDOM:
    """A model's charts below one another, a group of bars for each layer."""
    names = kinds([each.kind for each in left])
    shown = [each for each in left if each.layer < MOST_LAYERS]
    made = [_chart(chart, shown, names, legend=i == 0) for i, chart in enumerate(charts)]
    made[0].title.text = title
    made[-1].xaxis.axis_label = "layer"
    return Column(children=made)


def _chart(
    chart: Chart, shown: Sequence[Left], names: Mapping[str, str], *, legend: bool
) -> figure:
    """Bars side by side for the weights of a layer; one legend is enough for a model."""
    last = max(each.layer for each in shown)
    made = plain_figure(
        width=None,
        height=None,
        frame_width=WIDTH,
        frame_height=HEIGHT,
        tools="",
        toolbar_location=None,
        y_axis_label=chart.title,
        x_range=Range1d(-0.6, last + 0.6),
        y_range=Range1d(0, 1.05),
        min_border_left=70,
    )
    thick = 0.84 / len(names)
    items = []
    for place, (kind, name) in enumerate(names.items()):
        weights = [each for each in shown if each.kind == kind and chart.read(each) is not None]
        source = ColumnDataSource(
            {
                "x": [each.layer - 0.42 + thick * (place + 0.5) for each in weights],
                "share": [chart.read(each) for each in weights],
                "layer": [each.layer for each in weights],
                "kind": [kind] * len(weights),
            }
        )
        color = PALETTE[place % len(PALETTE)]
        bars = made.vbar("x", top="share", width=0.9 * thick, source=source, color=color)
        tips = [("layer", "@layer"), ("weight", "@kind"), (chart.title, "@share{0.0%}")]
        made.add_tools(HoverTool(renderers=[bars], tooltips=tips))
        items.append(LegendItem(label=short(name, 20), renderers=[bars]))
    if legend:
        said = Legend(items=items, label_text_font_size="12px", spacing=0, border_line_color=None)
        made.add_layout(said, "right")
    made.yaxis.formatter = NumeralTickFormatter(format="0%")
    made.yaxis.ticker.num_minor_ticks = 0
    made.xgrid.visible = False
    named_ticks(made.xaxis[0], [str(layer) for layer in range(last + 1)])
    return made
