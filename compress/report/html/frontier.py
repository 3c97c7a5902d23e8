"""The interactive plots of a section with what works them: filters, the timed shape, the table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bokeh.models import (
    BooleanFilter,
    CDSView,
    CheckboxGroup,
    ColumnDataSource,
    CustomJS,
    DataTable,
    Div,
    InlineStyleSheet,
    NumberFormatter,
    Select,
    TableColumn,
    UIElement,
)
from bokeh.plotting import figure

from compress.records.schema import FinishedRun
from compress.report.html.panel import FONT_SIZE
from compress.report.html.views import Drawn, latency_title, pareto_view
from compress.report.plotted import (
    FILTERS,
    PLACES,
    control_columns,
    run_columns,
    shape_columns,
    stairs_columns,
    teacher_columns,
)
from compress.report.points import Shape, shape_name, shapes_of
from compress.report.recommend import Advice

ROW, HEADER, TALLEST = 28, 32, 424  # pixels of the table
FILTER = """
const picked = Object.entries(boxes).map(([column, box]) =>
  [source.data[column], new Set(box.active.map((i) => box.labels[i]))]);
const shown = Array.from({length: source.get_length()}, (_, i) =>
  picked.every(([values, wanted]) => wanted.has(values[i])));
keep.booleans = shown;
count.text = `${shown.filter(Boolean).length} of ${shown.length} runs shown`;
source.change.emit();
"""
SWAP = """
const chosen = Number(cb_obj.value);
for (const [target, choices] of swaps) target.data = {...target.data, ...choices[chosen].data};
for (const axis of axes) axis.axis_label = labels[chosen];
"""


@dataclass(frozen=True)
class Frontier:
    """What the page shows of a section's runs.

    Attributes:
        filters: by what they filter by; only what the runs differ in.
        count: how many runs are shown.
        shape: chooses the shape whose times are drawn; null where there is only one.
    """

    filters: dict[str, CheckboxGroup]
    count: Div
    shape: Select | None
    plots: tuple[figure, ...]
    table: DataTable

    def drawings(self) -> Iterator[UIElement]:
        """All that is drawn."""
        yield from (*self.filters.values(), self.count, *self.plots, self.table)
        if self.shape is not None:
            yield self.shape


def frontier(advice: Advice, root: Path) -> Frontier:
    """Draws the runs of a section; they are named by their folders below the root."""
    records = [record for _, record in advice.section.runs]
    columns = {**run_columns(advice, root), **shape_columns(records, advice.shape)}
    drawn = Drawn(
        advice.section.kind,
        ColumnDataSource(columns),
        ColumnDataSource(teacher_columns(records, advice.shape)),
        ColumnDataSource(control_columns(records, advice.shape)),
        {place: ColumnDataSource(stairs_columns(columns, place)) for place in PLACES},
        BooleanFilter([True] * len(records)),
        [i for i, name in enumerate(columns["run"]) if name == advice.ship],
    )
    timed = shape_name(records, advice.shape)
    plots = {place: pareto_view(drawn, place, timed) for place in PLACES}
    count = Div(text=f"{len(records)} of {len(records)} runs shown", **_readable())
    shapes = shapes_of(records)
    choice = _shape_choice(records, shapes, drawn, plots) if len(shapes) > 1 else None
    return Frontier(_filters(drawn, count), count, choice, tuple(plots.values()), _run_table(drawn))


def _filters(drawn: Drawn, count: Div) -> dict[str, CheckboxGroup]:
    """A box for each value; `count` says how many runs are shown."""
    boxes = {}
    for name in FILTERS:
        values = sorted(set(drawn.source.data[name]))
        if len(values) > 1:
            every = list(range(len(values)))
            boxes[name] = CheckboxGroup(labels=values, active=every, inline=True, **_readable())
    shared = {"source": drawn.source, "keep": drawn.keep, "count": count, "boxes": boxes}
    for box in boxes.values():
        box.js_on_change("active", CustomJS(args=shared, code=FILTER))
    return boxes


def _shape_choice(
    records: Sequence[FinishedRun], shapes: Sequence[Shape], drawn: Drawn, plots: dict[str, figure]
) -> Select:
    """Swaps all that depends on the shape for that of the chosen one; the first one is drawn."""
    fixed = {name: drawn.source.data[name] for name in ("mb", "score")}
    timed = [shape_columns(records, shape) for shape in shapes]
    swaps = [
        (drawn.source, [ColumnDataSource(each) for each in timed]),
        (drawn.teachers, [ColumnDataSource(teacher_columns(records, each)) for each in shapes]),
        (drawn.controls, [ColumnDataSource(control_columns(records, each)) for each in shapes]),
    ]
    for place in ("place_latency", "place_cost"):
        corners = [stairs_columns({**fixed, **each}, place) for each in timed]
        swaps.append((drawn.stairs[place], [ColumnDataSource(each) for each in corners]))
    options = [(str(i), f"{batch} × {length}") for i, (batch, length) in enumerate(shapes)]
    title = "times at batch × tokens"
    choice = Select(title=title, value="0", options=options, width=220, **_readable())
    shared = {
        "swaps": swaps,
        "axes": [plots["place_latency"].xaxis[0], plots["place_cost"].yaxis[0]],
        "labels": [latency_title(shape_name(records, shape)) for shape in shapes],
    }
    choice.js_on_change("value", CustomJS(args=shared, code=SWAP))
    return choice


def _run_table(drawn: Drawn) -> DataTable:
    """All runs; what is selected in it is selected in the plots."""
    places = "0,0.00" if drawn.kind.relative else "0.000"
    columns = [
        TableColumn(field="run", title="run", width=80),
        TableColumn(field="recipe", title="recipe", width=430),
        TableColumn(field="score", title=drawn.kind.words, formatter=_number(places), width=75),
        TableColumn(field="change", title="change against the teacher", width=270),
        TableColumn(field="mb", title="MB", formatter=_number("0.0"), width=60),
        TableColumn(field="latency", title="ms", formatter=_number("0.00"), width=65),
        TableColumn(
            field="text_to_label", title="text to label (ms)", formatter=_number("0.00"), width=120
        ),
        TableColumn(field="speedup", title="speed-up", formatter=_number("0.00"), width=75),
        TableColumn(field="computes", title="computes in", width=130),
        TableColumn(field="wins", title="best at", width=340),
    ]
    rows = len(drawn.source.data["run"])
    return DataTable(
        source=drawn.source, view=CDSView(filter=drawn.keep), columns=columns,
        index_position=None, height=min(TALLEST, HEADER + ROW * rows), row_height=ROW,
        sizing_mode="stretch_width", autosize_mode="none", reorderable=False, **_readable(),
    )  # fmt: skip


def _readable() -> dict[str, Any]:
    """Settings of a widget: it lives in a shadow tree, which no style sheet of the page reaches."""
    type_ = f":host, .slick-cell, .slick-header-column {{ font-size: {FONT_SIZE}; }}"
    return {"stylesheets": [InlineStyleSheet(css=type_)]}


def _number(form: str) -> NumberFormatter:
    return NumberFormatter(format=form, text_align="right", nan_format="–")
