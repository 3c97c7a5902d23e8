"""What a drawing shows, for tests that cannot look at it."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.models import Axis, ColumnDataSource, GlyphRenderer, Legend, Plot

from compress.report.html.panel import Panel


def plots(panel: Panel | None) -> list[Plot]:
    """The figures, in the order in which they were made."""
    assert panel is not None
    assert panel.drawing is not None
    found = [model for model in panel.drawing.references() if isinstance(model, Plot)]
    return sorted(found, key=lambda plot: int(plot.id.lstrip("p")))


def columns(plot: Plot, *names: str) -> list[list[Any]]:
    """These columns of the first data of a figure that has all of them."""
    for renderer in plot.renderers:
        assert isinstance(renderer, GlyphRenderer)
        source = renderer.data_source
        assert isinstance(source, ColumnDataSource)
        if set(names) <= source.data.keys():
            return [np.asarray(source.data[name]).tolist() for name in names]
    raise AssertionError(f"no data has {names}")


def texts(plot: Plot) -> list[str]:
    """Text that is drawn inside a figure."""
    found: list[str] = []
    for renderer in plot.renderers:
        assert isinstance(renderer, GlyphRenderer)
        found += map(str, renderer.data_source.data.get("text", []))
    return found


def ticks(axis: list[Axis]) -> list[str]:
    """The names on an axis, in the order of their places."""
    return [str(name) for _, name in sorted(axis[0].major_label_overrides.items())]


def legend(plot: Plot) -> list[str]:
    """The legend's labels."""
    return [item.label.value for each in plot.select(Legend) for item in each.items]
