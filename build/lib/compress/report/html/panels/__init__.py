"""The drawings of one section beside its Pareto plots, a module each."""

from __future__ import annotations

from collections.abc import Iterator

from compress.report.html.panel import Panel
from compress.report.html.panels.curves import curves
from compress.report.html.panels.effects import effects_panel
from compress.report.html.panels.latency import latency
from compress.report.html.panels.layers import layers
from compress.report.html.panels.searches import search_panels
from compress.report.html.panels.waterfall import waterfall
from compress.report.sections import Section


def panels(section: Section) -> Iterator[Panel]:
    """The drawings that the section's records have something for.

    Args:
        section: runs that compare.
    """
    for draw in (waterfall, effects_panel):
        if (panel := draw(section)) is not None:
            yield panel
    yield from search_panels(section)
    for draw in (curves, latency, layers):
        if (panel := draw(section)) is not None:
            yield panel
