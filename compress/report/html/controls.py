"""What a reader works a section's plots with: filters, the shape that is timed, and the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bokeh.models import (
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
)
from bokeh.plotting import figure

from compress.records.schema import FinishedRun
from compress.report.html.panel import FONT_SIZE
from compress.report.html.views import Drawn, latency_title
from compress.report.plotted import FILTERS, shape_columns, stairs_columns, teacher_columns
from compress.report.points import Shape, shape_name

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


def filters(drawn: Drawn, count: Div) -> dict[str, CheckboxGroup]:
    """By what they filter by, a box for each value; only of what the runs differ in.

    Args:
        drawn: what they filter.
        count: says how many runs are shown.
    """
    boxes = {}
    for name in FILTERS:
        values = sorted(set(drawn.source.data[name]))
        if len(values) > 1:
            every = list(range(len(values)))
            boxes[name] = CheckboxGroup(labels=values, active=every, inline=True, **readable())
    shared = {"source": drawn.source, "keep": drawn.keep, "count": count, "boxes": boxes}
    for box in boxes.values():
        box.js_on_change("active", CustomJS(args=shared, code=FILTER))
    return boxes


def shape_choice(
    records: Sequence[FinishedRun],
    shapes: Sequence[Shape],
    drawn: Drawn,
    plots: Mapping[str, figure],
) -> Select:
    """Swaps all that depends on the shape for that of the chosen one; the first one is drawn."""
    fixed = {name: drawn.source.data[name] for name in ("mb", "score")}
    timed = [shape_columns(records, shape) for shape in shapes]
    swaps = [
        (drawn.source, [ColumnDataSource(each) for each in timed]),
        (drawn.teachers, [ColumnDataSource(teacher_columns(records, each)) for each in shapes]),
    ]
    for place in ("place_latency", "place_cost"):
        corners = [stairs_columns({**fixed, **each}, place) for each in timed]
        swaps.append((drawn.stairs[place], [ColumnDataSource(each) for each in corners]))
    options = [(str(i), f"{batch} × {length}") for i, (batch, length) in enumerate(shapes)]
    title = "times at batch × tokens"
    choice = Select(title=title, value="0", options=options, width=220, **readable())
    shared = {
        "swaps": swaps,
        "axes": [plots["place_latency"].xaxis[0], plots["place_cost"].yaxis[0]],
        "labels": [latency_title(shape_name(records, shape)) for shape in shapes],
    }
    choice.js_on_change("value", CustomJS(args=shared, code=SWAP))
    return choice


def run_table(drawn: Drawn) -> DataTable:
    """All runs; what is selected in it is selected in the plots."""
    places = "0,0.00" if drawn.kind.relative else "0.000"
    columns = [
        TableColumn(field="run", title="run", width=80),
        TableColumn(field="recipe", title="recipe", width=430),
        TableColumn(field="score", title=drawn.kind.words, formatter=_number(places), width=75),
        TableColumn(field="change", title="change against the teacher", width=270),
        TableColumn(field="mb", title="MB", formatter=_number("0.0"), width=60),
        TableColumn(field="latency", title="ms", formatter=_number("0.00"), width=65),
        TableColumn(field="speedup", title="speed-up", formatter=_number("0.00"), width=75),
        TableColumn(field="computes", title="computes in", width=130),
        TableColumn(field="wins", title="best at", width=340),
    ]
    rows = len(drawn.source.data["run"])
    return DataTable(
        source=drawn.source, view=CDSView(filter=drawn.keep), columns=columns,
        index_position=None, height=min(TALLEST, HEADER + ROW * rows), row_height=ROW,
        sizing_mode="stretch_width", autosize_mode="none", reorderable=False, **readable(),
    )  # fmt: skip


def readable() -> dict[str, Any]:
    """Settings of a widget: it lives in a shadow tree, which no style sheet of the page reaches."""
    type_ = f":host, .slick-cell, .slick-header-column {{ font-size: {FONT_SIZE}; }}"
    return {"stylesheets": [InlineStyleSheet(css=type_)]}


def _number(form: str) -> NumberFormatter:
    return NumberFormatter(format=form, text_align="right", nan_format="–")
