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
    CustomJSTickFormatter,
    DataTable,
    Div,
    IndexFilter,
    InlineStyleSheet,
    NumberFormatter,
    Select,
    Slider,
    TableColumn,
    UIElement,
)
from bokeh.plotting import figure

from compress.records.schema import FinishedRun
from compress.records.score_words import is_logarithmic, kind_of, margin_words
from compress.report.html.names import LETTER, name_columns
from compress.report.html.panel import FONT_SIZE
from compress.report.html.views import Drawn, latency_title, pareto_view
from compress.report.plotted import (
    FILTERS,
    PLACES,
    STAIRS,
    Columns,
    control_columns,
    run_columns,
    shape_columns,
    stairs_columns,
    teacher_columns,
)
from compress.report.points import Shape, shape_name, shapes_of
from compress.report.recommend import Advice

ROW, HEADER, TALLEST = 28, 32, 424  # pixels of the table
SEVERAL = 5  # runs; of fewer, one plot shows all there is
COSTS = "place_cost"
FILTER = """
const picked = Object.entries(boxes).map(([column, box]) =>
  [source.data[column], new Set(box.active.map((i) => box.labels[i]))]);
const shown = Array.from({length: source.get_length()}, (_, i) =>
  picked.every(([values, wanted]) => wanted.has(values[i])));
keep.booleans = shown;
count.text = `${shown.filter(Boolean).length} of ${shown.length} runs shown`;
source.change.emit();
"""
ACCEPT = """
const chosen = Math.round(cb_obj.value);
names.forEach((name, i) => { document.getElementById(name).hidden = i !== chosen; });
ring.indices = ships[chosen];
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
        margin: chooses the loss that is accepted.
        blocks: the ids of the page's parts that it shows one of, in the order of `Advice.others`.
    """

    filters: dict[str, CheckboxGroup]
    count: Div
    shape: Select | None
    plots: tuple[figure, ...]
    table: DataTable
    margin: Slider
    blocks: tuple[str, ...]

    def drawings(self) -> Iterator[UIElement]:
        """All that is drawn."""
        yield from (*self.filters.values(), self.count, *self.plots, self.table, self.margin)
        if self.shape is not None:
            yield self.shape


def frontier(advice: Advice, root: Path, number: int) -> Frontier:
    """Draws the runs of a section; they are named by their folders below the root.

    Args:
        advice: on the section.
        root: of the report.
        number: of the section on the page.
    """
    records = [record for _, record in advice.section.runs]
    columns, teachers, controls = _drawn_at(run_columns(advice, root), records, advice.shape)
    drawn = Drawn(
        advice.section.kind,
        ColumnDataSource(columns),
        ColumnDataSource(teachers),
        ColumnDataSource(controls),
        {place: ColumnDataSource(stairs_columns(columns, place)) for place in STAIRS},
        BooleanFilter([True] * len(records)),
        IndexFilter(_places(columns, advice)),
    )
    timed = shape_name(records, advice.shape)
    plots = {place: pareto_view(drawn, place, timed) for place in PLACES}
    count = Div(text=f"{len(records)} of {len(records)} runs shown", **_readable())
    shapes = shapes_of(records)
    choice = _shape_choice(records, shapes, drawn, plots) if len(shapes) > 1 else None
    blocks = tuple(f"choice-{number}-{place}" for place in range(len(advice.others)))
    shown = [plots[place] for place in PLACES if len(records) >= SEVERAL or place == COSTS]
    return Frontier(
        _filters(drawn, count),
        count,
        choice,
        tuple(shown),
        _run_table(drawn),
        _margin_choice(advice, columns, drawn, blocks),
        blocks,
    )


def _drawn_at(
    fixed: Columns, records: Sequence[FinishedRun], shape: Shape
) -> tuple[Columns, Columns, Columns]:
    """The runs, with what does not depend on the shape; the teachers; the controls."""
    teachers, controls = teacher_columns(records, shape), control_columns(records, shape)
    runs = {**fixed, **shape_columns(records, shape)}
    beside = (teachers, controls)
    scores = [score for part in (runs, *beside) for score in part["score"]]
    kind = kind_of(records[0].metrics.score)
    names = name_columns(runs, beside, logarithmic_scores=is_logarithmic(kind, scores))
    return {**runs, **names}, teachers, controls


def _places(columns: Columns, advice: Advice) -> list[int]:
    """Of the run to ship among all; empty without one."""
    return [i for i, name in enumerate(columns["run"]) if name == advice.ship]


def _margin_choice(advice: Advice, columns: Columns, drawn: Drawn, blocks: Sequence[str]) -> Slider:
    """Shows what is recommended by another margin, in words and in the plots."""
    margins = [other.rule.margin for other in advice.others]
    labels = [margin_words(advice.section.kind, margin) for margin in margins]
    slider = Slider(
        title="I accept a loss of less than",
        start=0,
        end=len(margins) - 1,
        step=1,
        value=margins.index(advice.rule.margin),
        width=320,
        format=CustomJSTickFormatter(args={"labels": labels}, code="return labels[tick]"),
        **_readable(),
    )
    shared = {
        "names": list(blocks),
        "ships": [_places(columns, other) for other in advice.others],
        "ring": drawn.ship,
        "source": drawn.source,
    }
    slider.js_on_change("value", CustomJS(args=shared, code=ACCEPT))
    return slider


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
    timed = [_drawn_at(drawn.source.data, records, shape) for shape in shapes]
    sources = (drawn.source, drawn.teachers, drawn.controls)
    swaps = [
        (source, [ColumnDataSource(each) for each in choices])
        for source, choices in zip(sources, zip(*timed, strict=True), strict=True)
    ]
    corners = [stairs_columns(runs, "place_latency") for runs, _, _ in timed]
    swaps.append((drawn.stairs["place_latency"], [ColumnDataSource(each) for each in corners]))
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
        TableColumn(field="run", title="run", width=_run_width(drawn)),
        TableColumn(field="score", title=drawn.kind.words, formatter=_number(places), width=75),
        TableColumn(field="change", title="change against the teacher", width=310),
        TableColumn(field="mb", title="MB", formatter=_number("0.0"), width=60),
        TableColumn(field="latency", title="ms", formatter=_number("0.00"), width=65),
        TableColumn(field="speedup", title="speed-up", formatter=_number("0.00"), width=75),
        TableColumn(field="recipe", title="recipe", width=430),
        TableColumn(
            field="text_to_label", title="text to label (ms)", formatter=_number("0.00"), width=130
        ),
        TableColumn(field="computes", title="computes in", width=130),
        TableColumn(field="wins", title="best at", width=340),
    ]
    rows = len(drawn.source.data["run"])
    return DataTable(
        source=drawn.source, view=CDSView(filter=drawn.keep), columns=columns,
        index_position=None, height=min(TALLEST, HEADER + ROW * rows), row_height=ROW,
        sizing_mode="stretch_width", autosize_mode="none", reorderable=False, **_readable(),
    )  # fmt: skip


def _run_width(drawn: Drawn) -> int:
    """Pixels that the longest name takes, within reason."""
    return min(240, max(80, round(LETTER * max(map(len, drawn.source.data["run"]))) + 16))


def _readable() -> dict[str, Any]:
    """Settings of a widget: it lives in a shadow tree, which no style sheet of the page reaches."""
    type_ = f":host, .slick-cell, .slick-header-column {{ font-size: {FONT_SIZE}; }}"
    wrapped = ":host { max-width: 100%; } label { white-space: normal; overflow-wrap: anywhere; }"
    return {"stylesheets": [InlineStyleSheet(css=f"{type_} {wrapped}")]}


def _number(form: str) -> NumberFormatter:
    return NumberFormatter(format=form, text_align="right", nan_format="–")
