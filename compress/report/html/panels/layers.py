"""What remains of each layer: zeros, width and rank of every compressible weight."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bokeh.models import (
    Column,
    HoverTool,
    LayoutDOM,
    Legend,
    LegendItem,
    NumeralTickFormatter,
)
from bokeh.plotting import figure

from compress.records.schema import LayerWeights
from compress.report.html.panel import (
    PALETTE,
    Panel,
    named_ticks,
    short,
    side_by_side,
    still_figure,
)
from compress.report.html.panels.front import front_runs, run_label, spread
from compress.report.sections import Section

# The charts, and what each shows of a weight that nothing was done to.
UNTOUCHED = {"zeros": 0.0, "rows kept": 1.0, "columns kept": 1.0, "rank kept": 1.0}
# A share less away from that is passed over: int8 rounds up to 8 % of a weight to zero.
NOTICED = {"zeros": 0.1, "rows kept": 0.02, "columns kept": 0.02, "rank kept": 0.02}
EVEN = 0.01  # shares of all weights that differ by no more are told in words
MOST, MOST_LAYERS = 4, 32  # models that are drawn, and layers of one
WIDTH, HEIGHT = 480, 130  # pixels of a chart's frame
TITLE = "What remains of each layer"
WORDS = (
    "The remaining weights of the transformer's layers, as fractions of the teacher's weight of "
    "the same name: zeros, output rows, input columns, and the rank of factorized weights. A chart "
    "without changes is omitted. Layers of a student with fewer layers are renumbered from 0."
)
INDEX = re.compile(r"(?P<front>.*?)\.(?P<layer>\d+)\.(?P<kind>.+)\.weight")
HALF = re.compile(r"\.(down|up)\.weight$")  # one of the two that a low-rank weight is stored as


@dataclass(frozen=True)
class Left:
    """What is left of one weight.

    Attributes:
        layer: the transformer's, from 0.
        kind: which of its weights: "query", "intermediate".
        shares: by chart. Of what is stored that is zero; of the rows and of the columns of the
            baseline's weight, null where it has no such weight or the stored one another shape; of
            the largest rank that a weight could have that is stored as two, else 1.
    """

    layer: int
    kind: str
    shares: Mapping[str, float | None]


def layers(section: Section) -> Panel | None:
    """Charts for models of the front, in words what is the same in all layers of one.

    None if nothing shows in their layers.
    """
    told, even = [], []
    for run in front_runs(section.runs):
        left = what_is_left(run[1].metrics.layers, run[1].baseline.layers)
        charts = [chart for chart in UNTOUCHED if any(_shows(chart, each) for each in left)]
        alike = [words for chart in charts if (words := _even_words(chart, left))]
        if alike:
            even.append(f"{run_label(*run)}: {', '.join(alike)} in each weight.")
        if drawn := [chart for chart in charts if not _even_words(chart, left)]:
            told.append((run_label(*run), left, drawn))
    if not told:
        return Panel(TITLE, " ".join(even), None) if even else None
    drawn_models = spread(told, MOST)
    left_out = f"{len(drawn_models)} of {len(told)} models of the Pareto front are shown."
    said = [WORDS, *even, *([left_out] if len(drawn_models) < len(told) else [])]
    models = [_model(*model) for model in drawn_models]
    return Panel(TITLE, " ".join(said), side_by_side(models))


def what_is_left(ours: Sequence[LayerWeights], theirs: Sequence[LayerWeights]) -> list[Left]:
    """Every weight of a model that lies in a numbered layer, against the baseline's.

    Two weights that stand for one are told as that one.
    """
    baseline = {each.name: each.shape for each in theirs}
    stored: dict[str, list[LayerWeights]] = {}
    for each in ours:
        whole = HALF.sub(".weight", each.name)
        stored.setdefault(whole if whole in baseline else each.name, []).append(each)
    found = []
    for whole, weights in stored.items():
        name = whole if len(weights) > 1 else weights[0].name
        if match := INDEX.fullmatch(name):
            shares = _shares(weights, baseline.get(name, ()))
            found.append(Left(int(match["layer"]), match["kind"], shares))
    return found


def _shares(stored: Sequence[LayerWeights], before: tuple[int, ...]) -> dict[str, float | None]:
    """What is left of a weight that is stored as one or as two.

    Its shape in the baseline is empty where that has no such weight.
    """
    entries = sum(math.prod(each.shape) for each in stored)
    zeros = sum(each.zeros for each in stored) / max(1, entries)
    shape, rank = stored[0].shape, 1.0
    if len(stored) == 2:
        down, up = (each.shape for each in sorted(stored, key=lambda each: each.name))
        # Some runtimes store matrices transposed; the rank is less than the two other sides.
        shape, rank = (max(up), max(down)), min(*down, *up) / min(before)
    rows, columns = _kept(shape, before)
    return dict(zip(UNTOUCHED, (zeros, rows, columns, rank), strict=True))


def _kept(
    shape: tuple[int, ...], before: tuple[int, ...]
) -> tuple[float, float] | tuple[None, None]:
    """Shares of the rows and the columns; none where a format stores another shape."""
    if len(shape) == len(before) == 2:
        for now in (shape, shape[::-1]):
            if now[0] <= before[0] and now[1] <= before[1]:
                return now[0] / before[0], now[1] / before[1]
    return None, None


def kinds(names: Sequence[str]) -> dict[str, str]:
    """Of paths such as "attention.self.query" the shortest ends that tell them apart: "query"."""
    paths = {name: name.removesuffix(".dense").split(".") for name in names}
    ends = {name: [".".join(path[i:]) for i in range(len(path))] for name, path in paths.items()}
    counts = Counter(end for each in ends.values() for end in each)
    return {
        name: next((end for end in reversed(each) if counts[end] == 1), each[0])
        for name, each in ends.items()
    }


def _shows(chart: str, left: Left) -> bool:
    share = left.shares[chart]
    return share is not None and abs(share - UNTOUCHED[chart]) > NOTICED[chart]


def _even_words(chart: str, left: Sequence[Left]) -> str:
    """Such as "zeros 50%", where that holds for all weights that have the share; else empty."""
    shares = [share for each in left if (share := each.shares[chart]) is not None]
    is_even = max(shares) - min(shares) <= EVEN
    return f"{chart} {sum(shares) / len(shares):.0%}" if is_even else ""


def _model(title: str, left: Sequence[Left], charts: Sequence[str]) -> LayoutDOM:
    """A model's charts below one another, a group of bars for each layer."""
    names = kinds([each.kind for each in left])
    shown = [each for each in left if each.layer < MOST_LAYERS]
    made = [_chart(chart, shown, names, legend=i == 0) for i, chart in enumerate(charts)]
    made[0].title.text = title
    made[-1].xaxis.axis_label = "layer"
    return Column(children=made)


def _chart(chart: str, shown: Sequence[Left], names: Mapping[str, str], *, legend: bool) -> figure:
    """Bars side by side for the weights of a layer; one legend is enough for a model."""
    last = max(each.layer for each in shown)
    made = still_figure(
        width=None,
        height=None,
        frame_width=WIDTH,
        frame_height=HEIGHT,
        y_axis_label=chart,
        x_range=(-0.6, last + 0.6),
        y_range=(0, 1.05),
        min_border_left=70,
    )
    thick = 0.84 / len(names)
    items = []
    for place, (kind, name) in enumerate(names.items()):
        weights = [each for each in shown if each.kind == kind and each.shares[chart] is not None]
        source = {
            "x": [each.layer - 0.42 + thick * (place + 0.5) for each in weights],
            "share": [each.shares[chart] for each in weights],
            "layer": [each.layer for each in weights],
            "kind": [kind] * len(weights),
        }
        color = PALETTE[place % len(PALETTE)]
        bars = made.vbar("x", top="share", width=0.9 * thick, source=source, color=color)
        tips = [("layer", "@layer"), ("weight", "@kind"), (chart, "@share{0.0%}")]
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
