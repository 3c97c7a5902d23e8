"""Which settings of a search decide about each objective."""

from __future__ import annotations

from collections.abc import Mapping

from bokeh.models import HoverTool, Legend, LegendItem, NumeralTickFormatter, Range1d

from compress.report.html.panel import PALETTE, Panel, named_ticks, plain_figure
from compress.report.html.panels.labels import short
from compress.search.past import PastSearch

MOST = 16  # settings that are drawn
WIDTH, BAR, FRAME = 820, 16, 90  # pixels


def importance(search: PastSearch, found: Mapping[str, Mapping[str, float]]) -> Panel | None:
    """A bar for each setting and objective, the heaviest settings on top.

    Args:
        search: for its objectives.
        found: importances by objective and key; None is drawn of none.
    """
    if not found:
        return None
    weight = {key: sum(shares[key] for shares in found.values()) for key in search.keys}
    keys = sorted(weight, key=lambda key: -weight[key])[:MOST]
    thick = 0.8 / len(found)
    chart = plain_figure(
        width=WIDTH,
        height=BAR * len(keys) * (len(found) + 1) + FRAME,
        tools="",
        toolbar_location=None,
        x_axis_label="importance",
        x_range=Range1d(0, 1.05 * max(max(shares.values()) for shares in found.values())),
        y_range=Range1d(len(keys) - 0.4, -0.6),
    )
    items = []
    for place, (name, shares) in enumerate(found.items()):
        rows = [row - 0.4 + thick * (place + 0.5) for row in range(len(keys))]
        data = {"row": rows, "share": [shares[key] for key in keys], "key": keys}
        color = PALETTE[place % len(PALETTE)]
        bars = chart.hbar("row", right="share", height=0.9 * thick, source=data, color=color)
        tips = [("setting", "@key"), (name, "@share{0.0%}")]
        chart.add_tools(HoverTool(renderers=[bars], tooltips=tips))
        items.append(LegendItem(label=name, renderers=[bars]))
    chart.add_layout(Legend(items=items), "right")
    chart.xaxis.formatter = NumeralTickFormatter(format="0%")
    chart.ygrid.visible = False
    named_ticks(chart.yaxis[0], [short(key, 34) for key in keys])
    return Panel("Which settings decide", _words(search, found, len(keys)), chart)


def _words(search: PastSearch, found: Mapping[str, Mapping[str, float]], drawn: int) -> str:
    words = (
        "How differently each setting is distributed among the best tenth of the trials (at least "
        f"five) and among all {len(search.trials)}, for each objective by itself; the bars of one "
        "objective add up to 100 %. From few trials it is a hint, not a proof "
        "(conditional PED-ANOVA, arXiv:2601.20800)."
    )
    if drawn < len(search.keys):
        words += f" Drawn are the {drawn} heaviest of {len(search.keys)} settings."
    if even := [name for name in search.goals.objectives if name not in found]:
        words += f" In {', '.join(even)} the best trials are set like all others."
    return words
