"""The drawings of one section beside its Pareto plots."""

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
    """The drawings that the section's records have something for."""
    found = (
        waterfall(section), effects_panel(section), *search_panels(section), curves(section),
        latency(section), layers(section),
    )  # fmt: skip
    return (panel for panel in found if panel is not None)
