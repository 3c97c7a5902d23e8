"""One drawing of the page and what is said about it, and the looks that all drawings share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bokeh.models import (
    Axis,
    ColorBar,
    ColorMapper,
    FixedTicker,
    LayoutDOM,
    LinearColorMapper,
    LogColorMapper,
    NumeralTickFormatter,
    Row,
    Ticker,
    TickFormatter,
)
from bokeh.palettes import Cividis256
from bokeh.plotting import figure

from compress.records.scores import ScoreKind

# Okabe & Ito 2008, "Color universal design": distinguished by color-blind readers.
BLUE, ORANGE, GREEN, PINK, SKY, VERMILION, YELLOW, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000",
)  # fmt: skip
GREY = "#8A8A8A"
PALETTE = (BLUE, VERMILION, GREEN, ORANGE, PINK, SKY, BLACK, YELLOW)
WIDTH, HEIGHT = 560, 400
NARROW = 350  # pixels of a drawing that a telephone shows whole
FONT_SIZE = "14px"
DECADES = range(-4, 10)  # of numbers along logarithmic axes
# What Bokeh would typeset as a formula if a pair of them stood in a label.
FORMULA = re.compile(r"\$(?=\$)|\\(?=[()\[\]])")


@dataclass(frozen=True)
class Panel:
    """One drawing of the page, with plain text that the page escapes.

    Attributes:
        words: what it shows and how to read it.
        drawing: the figure, or a layout of several; None where the words say it all.
    """

    title: str
    words: str
    drawing: LayoutDOM | None


def plain_figure(**settings: Any) -> figure:
    """Bokeh's `figure` in the looks of the page: readable type, a light grid, no logo."""
    tools = "pan,wheel_zoom,box_zoom,reset,save"
    made = figure(**{"width": WIDTH, "height": HEIGHT, "tools": tools, **settings})
    made.toolbar.logo = None
    made.axis.axis_label_text_font_size = FONT_SIZE
    made.axis.axis_label_text_font_style = "normal"
    made.axis.major_label_text_font_size = FONT_SIZE
    made.grid.grid_line_alpha = 0.4
    made.title.text_font_size = FONT_SIZE
    return made


def still_figure(**settings: Any) -> figure:
    """A figure that no tool moves."""
    return plain_figure(tools="", toolbar_location=None, **settings)


def rows_figure(rows: int, **settings: Any) -> figure:
    """A figure that no tool moves, of rows at 0, 1, 2 and so on from the top."""
    made = still_figure(y_range=(rows - 0.4, -0.6), **settings)
    made.ygrid.visible = False
    return made


def decimal_marks() -> dict[str, Ticker | TickFormatter]:
    """Ticker and formatter of a logarithmic axis: at 1, 2, 5, 10 and so on, in plain numbers."""
    # A LogTicker has other marks, and few of them have numbers, where there is not a whole decade.
    marks = [digit * 10.0**power for power in DECADES for digit in (1, 2, 5)]
    ticker = FixedTicker(ticks=marks, minor_ticks=[])
    return {"ticker": ticker, "formatter": NumeralTickFormatter(format="0,0.[0000]")}


def score_colors(kind: ScoreKind, low: float, high: float, *, logarithmic: bool) -> ColorMapper:
    """Dark is good."""
    palette = Cividis256[::-1] if kind.better == "higher" else Cividis256
    scale = LogColorMapper if logarithmic else LinearColorMapper
    return scale(palette, low=low, high=high)


def score_bar(kind: ScoreKind, colors: ColorMapper, **looks: Any) -> ColorBar:
    """What the colors mean, beside a drawing."""
    marks = decimal_marks() if isinstance(colors, LogColorMapper) else {}
    return ColorBar(color_mapper=colors, title=kind.words, **marks, **looks)


def named_ticks(axis: Axis, names: Sequence[str]) -> None:
    """Names the places 0, 1, 2 and so on of an axis. Equal names stay apart, unlike factors."""
    axis.ticker = list(range(len(names)))
    axis.major_label_overrides = dict(enumerate(names))


def side_by_side(drawings: Sequence[LayoutDOM]) -> LayoutDOM:
    """Drawings in a row, which goes on below where the window ends."""
    return Row(children=list(drawings), spacing=16, styles={"flex-wrap": "wrap"})


def short(text: str, most: int) -> str:
    """Any text as one line of at most so many signs, the middle left out; never a formula."""
    line = FORMULA.sub(lambda found: f"{found[0]}\u200b", " ".join(text.split()))
    if len(line) <= most:
        return line
    # The ends tell two names apart: a group's name, and the last of its settings.
    front = (most - 1) * 2 // 3
    return f"{line[:front]}…{line[len(line) - (most - 1 - front) :]}"
