"""The interactive plots of a section with what works them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bokeh.models import (
    BooleanFilter,
    CheckboxGroup,
    ColumnDataSource,
    DataTable,
    Div,
    Select,
    UIElement,
)
from bokeh.plotting import figure

from compress.report.html.controls import filters, readable, run_table, shape_choice
from compress.report.html.views import Drawn, pareto_view
from compress.report.plotted import (
    PLACES,
    run_columns,
    shape_columns,
    stairs_columns,
    teacher_columns,
)
from compress.report.points import shape_name, shapes_of
from compress.report.recommend import Advice


@dataclass(frozen=True)
class Frontier:
    """What the page shows of a section's runs.

    Attributes:
        filters: by what they filter by; only what the runs differ in.
        count: how many runs are shown.
        shape: chooses the shape whose times are drawn; null where there is only one.
        plots: score by size, score by latency, latency by size.
        table: all runs, linked with the plots.
    """

    filters: dict[str, CheckboxGroup]
    count: Div
    shape: Select | None
    plots: tuple[figure, ...]
    table: DataTable

    def drawings(self) -> Iterator[UIElement]:
        """All that is drawn."""
        yield from self.filters.values()
        if self.shape is not None:
            yield self.shape
        yield from (*self.plots, self.count, self.table)


def frontier(advice: Advice, root: Path) -> Frontier:
    """Draws the runs of a section; they are named by their folders below the root."""
    records = [record for _, record in advice.section.runs]
    columns = {**run_columns(advice, root), **shape_columns(records, advice.shape)}
    drawn = Drawn(
        advice.section.kind,
        ColumnDataSource(columns),
        ColumnDataSource(teacher_columns(records, advice.shape)),
        {place: ColumnDataSource(stairs_columns(columns, place)) for place in PLACES},
        BooleanFilter([True] * len(records)),
        tuple(i for i, name in enumerate(columns["run"]) if name == advice.ship),
    )
    timed = shape_name(records, advice.shape)
    plots = {place: pareto_view(drawn, place, timed) for place in PLACES}
    count = Div(text=f"{len(records)} of {len(records)} runs shown", **readable())
    shapes = shapes_of(records)
    choice = shape_choice(records, shapes, drawn, plots) if len(shapes) > 1 else None
    return Frontier(filters(drawn, count), count, choice, tuple(plots.values()), run_table(drawn))
