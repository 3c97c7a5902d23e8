"""Trials of a search without a place on its front from the start: failed, or infeasible."""

from __future__ import annotations

from bokeh.models import ColumnDataSource, HoverTool, Range1d

from compress.report.html.panel import SKY, Panel, plain_figure
from compress.report.html.panels.labels import short
from compress.search.past import PastSearch

MOST, LONGEST = 12, 96  # reasons, and signs of one
WIDTH, ROW, FRAME = 820, 34, 70


def losses(search: PastSearch) -> Panel | None:
    """How many trials failed or broke a constraint, by reason; None if none did."""
    reasons = list(search.reasons.items())
    if not reasons:
        return None
    shown = reasons[:MOST]
    source = ColumnDataSource(
        {
            "row": list(range(len(shown))),
            "count": [count for _, count in shown],
            "reason": [reason for reason, _ in shown],
            "words": [f"{count} × {short(reason, LONGEST)}" for reason, count in shown],
        }
    )
    chart = plain_figure(
        width=WIDTH,
        height=ROW * len(shown) + FRAME,
        tools="",
        toolbar_location=None,
        x_axis_label="trials",
        x_range=Range1d(0, 1.05 * shown[0][1]),
        y_range=Range1d(len(shown) - 0.4, -0.6),
    )
    bars = chart.hbar("row", height=0.8, right="count", source=source, color=SKY, alpha=0.5)
    chart.text(
        0, "row", "words", source=source, x_offset=6, text_baseline="middle", text_font_size="13px"
    )
    chart.yaxis.visible = False
    chart.ygrid.visible = False
    tips = [("trials", "@count"), ("reason", "@reason")]
    chart.add_tools(HoverTool(renderers=[bars], tooltips=tips))
    words = (
        "Trials that failed or that break a constraint, by reason; figures in a reason are left "
        "out where they differ. A trial can break several constraints and then counts for each. "
        "Trials that were stopped and run again are not among them."
    )
    if len(shown) < len(reasons):
        words += f" Drawn are the {len(shown)} most frequent of {len(reasons)} reasons."
    return Panel("Trials that failed or may not be chosen", words, chart)
