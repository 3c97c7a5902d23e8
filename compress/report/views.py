"""The three Pareto plots of a section: views of one source of data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bokeh.models import (
    BooleanFilter,
    BoxSelectTool,
    CDSView,
    ColorBar,
    ColumnDataSource,
    DataRange1d,
    GlyphRenderer,
    GroupFilter,
    HoverTool,
    IndexFilter,
    TapTool,
)
from bokeh.palettes import Cividis256
from bokeh.plotting import figure
from bokeh.transform import linear_cmap

from compress.report.panel import BLACK, BLUE, FONT_SIZE, GREY, VERMILION, plain_figure
from compress.report.plotted import PLACES
from compress.report.points import AS_GOOD, BEATEN, FRONT, Place, Shape

MANY = 150  # more points than this are drawn smaller, or they hide each other
NARROWEST = 0.01  # accuracies that the colours span
TITLES = {"mb": "size (MB)", "accuracy": "accuracy on the test rows"}
RANGED = ("accuracy", "latency")
# Marker, size, fill and edge, the last place on top; page.html has the legend.
LOOKS: dict[Place, tuple[str, int, str, str]] = {
    BEATEN: ("circle", 8, GREY, GREY),
    AS_GOOD: ("diamond", 13, "white", BLUE),
    FRONT: ("circle", 10, BLUE, BLUE),
}
HOVER = (
    ("run", "@run"),
    ("recipe", "@recipe"),
    ("accuracy", "@accuracy_words"),
    ("change", "@change"),
    ("size", "@size_words"),
    ("speed-up", "@speedup_words"),
    ("latency", "@latency{0.00} ms"),
    ("the clock said", "@measured"),
    ("computes in", "@computes"),
    ("best at", "@wins"),
)


@dataclass(frozen=True)
class Drawn:
    """What all parts of a section's drawing share.

    Attributes:
        stairs: by plot, the front's corners.
        keep: which runs the filters let through.
        ship: index of the run to ship, for a ring around it.
    """

    source: ColumnDataSource
    teachers: ColumnDataSource
    stairs: dict[str, ColumnDataSource]
    keep: BooleanFilter
    ship: tuple[int, ...]


def pareto_view(drawn: Drawn, place: str, shape: Shape) -> figure:
    """One plot.

    Args:
        drawn: what to draw.
        place: which plot, one of `PLACES`.
        shape: whose times the source has.
    """
    x, y = PLACES[place]
    titles = {**TITLES, "latency": latency_title(shape)}
    plot = plain_figure(
        x_axis_label=titles[x],
        y_axis_label=titles[y],
        x_range=DataRange1d(start=0),
        y_range=DataRange1d(**({"start": 0} if y == "latency" else {})),
        sizing_mode="stretch_width",
    )
    stairs = {"line_color": BLUE, "line_alpha": 0.6, "line_width": 1.5}
    plot.step("x", "y", source=drawn.stairs[place], mode="after", **stairs)
    _error_bars(plot, drawn, x, y)
    dots = [_dots(plot, drawn, place, where) for where in LOOKS]
    _teacher(plot, drawn, x, y)
    _ring(plot, drawn, x, y)
    box = BoxSelectTool(renderers=dots)
    hover = HoverTool(renderers=dots, tooltips=list(HOVER), limit=4)
    plot.add_tools(hover, TapTool(renderers=dots), box)
    # A drag selects; the wheel scrolls the page until its tool is switched on.
    plot.toolbar.active_drag = box
    return plot


def latency_title(shape: Shape) -> str:
    """What an axis of latencies says."""
    return f"latency (ms) at {shape[0]} × {shape[1]} tokens"


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
    """The points of one place, in the plot of the two costs coloured by accuracy."""
    x, y = PLACES[place]
    marker, size, fill, edge = LOOKS[where]
    looks: dict[str, Any] = {"fill_color": fill, "line_color": edge}
    if place == "place_cost":
        accuracy = drawn.source.data["accuracy"]
        # One accuracy alone has no span to be coloured by.
        low, high = min(accuracy), max(*accuracy, min(accuracy) + NARROWEST)
        colour = linear_cmap("accuracy", Cividis256[::-1], low, high)
        looks = {"fill_color": colour, "line_color": BLACK if where == FRONT else edge}
        if where == FRONT:
            _colour_bar(plot, colour["transform"])
    if where == BEATEN and len(drawn.source.data[x]) > MANY:
        size //= 2
    view = CDSView(filter=drawn.keep & GroupFilter(column_name=place, group=where))
    return plot.scatter(
        x, y, source=drawn.source, view=view, marker=marker, size=size, line_width=1.5,
        alpha=0.9, nonselection_alpha=0.12, **looks,
    )  # fmt: skip


def _colour_bar(plot: figure, mapper: object) -> None:
    bar = ColorBar(color_mapper=mapper, title="accuracy", width=12)
    bar.title_text_font_style = "normal"
    bar.major_label_text_font_size = bar.title_text_font_size = FONT_SIZE
    plot.add_layout(bar, "right")


def _teacher(plot: figure, drawn: Drawn, x: str, y: str) -> None:
    star = plot.scatter(x, y, source=drawn.teachers, marker="star", size=20, color=VERMILION)
    tips = [("", "@run"), ("accuracy", "@accuracy{0.0000}"), ("size", "@mb{0.0} MB")]
    plot.add_tools(HoverTool(renderers=[star], tooltips=tips, visible=False))


def _ring(plot: figure, drawn: Drawn, x: str, y: str) -> None:
    """Around the run to ship, with its name."""
    if not drawn.ship:
        return
    view = CDSView(filter=drawn.keep & IndexFilter(list(drawn.ship)))
    shared = {"source": drawn.source, "view": view}
    plot.scatter(x, y, size=20, fill_color=None, line_color=BLACK, line_width=2, **shared)
    plot.text(
        x, y, text="run", x_offset=12, y_offset=-10, text_font_size=FONT_SIZE,
        text_font_style="bold", background_fill_color="white", background_fill_alpha=0.7,
        **shared,
    )  # fmt: skip
