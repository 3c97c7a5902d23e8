"""The three Pareto plots of a section: views of one source of data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bokeh.models import (
    BooleanFilter,
    BoxSelectTool,
    CDSView,
    ColumnDataSource,
    DataRange1d,
    GlyphRenderer,
    GroupFilter,
    HoverTool,
    IndexFilter,
    TapTool,
)
from bokeh.plotting import figure
from bokeh.transform import transform

from compress.records.score_words import axis_words, is_logarithmic, is_wide
from compress.records.scores import ScoreKind
from compress.report.html.panel import (
    BLACK,
    BLUE,
    FONT_SIZE,
    GREY,
    VERMILION,
    decimal_marks,
    plain_figure,
    score_bar,
    score_colors,
)
from compress.report.plotted import PLACES
from compress.report.points import AS_GOOD, BEATEN, FRONT, Place

MANY = 150  # more points than this are drawn smaller, or they hide each other
NAMED = 12  # runs whose names have room
NARROWEST = 0.01  # scores that the colors span
RANGED = ("score", "latency")
# Marker, size, fill and edge, the last place on top; page.html has the legend.
LOOKS: dict[Place, tuple[str, int, str, str]] = {
    BEATEN: ("circle", 8, GREY, GREY),
    AS_GOOD: ("diamond", 13, "white", BLUE),
    FRONT: ("circle", 10, BLUE, BLUE),
}
# Of the run under the pointer, behind its score.
TIPS = [
    ("change", "@change"),
    ("size", "@size_words"),
    ("speed-up", "@speedup_words"),
    ("latency", "@latency{0.00} ms"),
    ("measured time", "@measured"),
    ("text to label", "@text_to_label{0.00} ms"),
    ("computes in", "@computes"),
    ("best at", "@wins"),
]


@dataclass(frozen=True)
class Drawn:
    """What all parts of a section's drawing share.

    Attributes:
        kind: of score.
        stairs: by plot, the front's corners; of those of score and one cost.
        keep: which runs the filters let through.
        ship: lets the run to ship through, which has a ring around it.
    """

    kind: ScoreKind
    source: ColumnDataSource
    teachers: ColumnDataSource
    controls: ColumnDataSource
    stairs: dict[str, ColumnDataSource]
    keep: BooleanFilter
    ship: IndexFilter

    @property
    def logarithmic(self) -> bool:
        """Whether the scores need a logarithmic scale."""
        return is_logarithmic(self.kind, self._every("score"))

    def is_wide(self, cost: str) -> bool:
        """Whether a cost needs a logarithmic scale."""
        return is_wide(self._every(cost))

    def _every(self, column: str) -> list[float]:
        sources = (self.source, self.teachers, self.controls)
        return [each for one in sources for each in one.data[column]]


def pareto_view(drawn: Drawn, place: str, timed: str) -> figure:
    """One of `PLACES`, with the times of the shape that is called `timed`."""
    x, y = PLACES[place]
    titles = {
        "mb": "size (MB)",
        "score": axis_words(drawn.kind, "on the test rows"),
        "latency": latency_title(timed),
    }
    logarithmic = drawn.logarithmic if y == "score" else drawn.is_wide(y)
    wide = drawn.is_wide(x)
    plot = plain_figure(
        x_axis_label=titles[x],
        y_axis_label=titles[y],
        y_axis_type="log" if logarithmic else "linear",
        x_axis_type="log" if wide else "linear",
        x_range=DataRange1d(**({} if wide else {"start": 0})),
        y_range=DataRange1d(**({"start": 0} if y == "latency" and not logarithmic else {})),
        sizing_mode="stretch_width",
    )
    if logarithmic:
        plot.yaxis.update(**decimal_marks())
    if wide:
        plot.xaxis.update(**decimal_marks())
    if place in drawn.stairs:
        plot.step(
            "x", "y", source=drawn.stairs[place], mode="after", line_color=BLUE, line_alpha=0.6,
            line_width=1.5,
        )  # fmt: skip
    _error_bars(plot, drawn, x, y)
    dots = [_dots(plot, drawn, place, where) for where in LOOKS]
    others = _teachers_and_controls(plot, drawn, x, y)
    _names(plot, drawn, place)
    _ring(plot, drawn, place)
    box = BoxSelectTool(renderers=dots)
    run, score = ("run", "@run"), (drawn.kind.words, "@score_words")
    beside = [("", "@run"), score, ("size", "@mb{0.0} MB")]
    plot.add_tools(
        HoverTool(renderers=others, tooltips=beside, visible=False),
        HoverTool(renderers=dots, tooltips=[run, ("recipe", "@recipe"), score, *TIPS], limit=4),
        TapTool(renderers=dots),
        box,
    )
    # A drag selects; the wheel scrolls the page until its tool is switched on.
    plot.toolbar.active_drag = box
    return plot


def latency_title(timed: str) -> str:
    """Label of a latency axis."""
    return f"latency (ms) at {timed}"


def _error_bars(plot: figure, drawn: Drawn, x: str, y: str) -> None:
    """Segments rather than whiskers, which no filter reaches."""
    looks = {
        "source": drawn.source,
        "view": CDSView(filter=drawn.keep),
        "line_color": GREY,
        "line_alpha": 0.12 if len(drawn.source.data[x]) > MANY else 0.5,
        "nonselection_line_alpha": 0.05,
    }
    if y in RANGED:
        plot.segment(x, f"{y}_low", x, f"{y}_high", **looks)
    if x in RANGED:
        plot.segment(f"{x}_low", y, f"{x}_high", y, **looks)


def _dots(plot: figure, drawn: Drawn, place: str, where: Place) -> GlyphRenderer:
    """The points of one place, in the plot of the two costs colored by the score."""
    x, y = PLACES[place]
    marker, size, fill, edge = LOOKS[where]
    if where == BEATEN and len(drawn.source.data[x]) > MANY:
        size //= 2
    looks: dict[str, Any] = {"fill_color": fill, "line_color": edge}
    if place == "place_cost":
        scores = drawn.source.data["score"]
        # One score alone has no span to be colored by.
        low, high = min(scores), max(*scores, min(scores) + NARROWEST)
        colors = score_colors(drawn.kind, low, high, logarithmic=drawn.logarithmic)
        looks["fill_color"] = transform("score", colors)
        if where == FRONT:
            looks["line_color"] = BLACK
            bar = score_bar(drawn.kind, colors, width=12, title_text_font_style="normal")
            bar.major_label_text_font_size = bar.title_text_font_size = FONT_SIZE
            plot.add_layout(bar, "right")
    view = CDSView(filter=drawn.keep & GroupFilter(column_name=place, group=where))
    return plot.scatter(
        x, y, source=drawn.source, view=view, marker=marker, size=size, line_width=1.5,
        alpha=0.9, nonselection_alpha=0.12, **looks,
    )  # fmt: skip


def _teachers_and_controls(plot: figure, drawn: Drawn, x: str, y: str) -> list[GlyphRenderer]:
    looks = {"fill_color": "white", "line_color": VERMILION, "line_width": 2}
    return [
        plot.scatter(x, y, source=drawn.teachers, marker="star", size=20, color=VERMILION),
        plot.scatter(x, y, source=drawn.controls, marker="triangle", size=14, **looks),
    ]


def _names(plot: figure, drawn: Drawn, place: str) -> None:
    """The name of each run, where there is room for them."""
    if len(drawn.source.data["run"]) <= NAMED:
        view = CDSView(filter=drawn.keep)
        looks = {"text_color": BLACK, "nonselection_text_alpha": 0.12}
        _written(plot, drawn, place, view, **looks)


def _ring(plot: figure, drawn: Drawn, place: str) -> None:
    """Around the run to ship, with its name."""
    view = CDSView(filter=drawn.keep & drawn.ship)
    plot.scatter(
        *PLACES[place], source=drawn.source, view=view, size=20, fill_color=None,
        line_color=BLACK, line_width=2,
    )  # fmt: skip
    _written(
        plot, drawn, place, view, text_font_style="bold", background_fill_color="white",
        background_fill_alpha=0.7,
    )  # fmt: skip


def _written(plot: figure, drawn: Drawn, place: str, view: CDSView, **looks: Any) -> None:
    """Names where `name_columns` puts them."""
    plot.text(
        *PLACES[place], text="name", x_offset=f"right_{place}", y_offset=f"down_{place}",
        text_align="center", text_baseline="middle", text_font_size=FONT_SIZE,
        source=drawn.source, view=view, **looks,
    )  # fmt: skip
