"""One drawing of the page and what is said about it, and the looks that all drawings share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bokeh.models import (
    Axis,
    FixedTicker,
    LayoutDOM,
    LogTicker,
    NumeralTickFormatter,
    Row,
    Ticker,
    TickFormatter,
)
from bokeh.plotting import figure

# Okabe & Ito 2008, "Color universal design": distinguished by color-blind readers.
BLUE, ORANGE, GREEN, PINK, SKY, VERMILION, YELLOW, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000",
)  # fmt: skip
GREY = "#8A8A8A"
PALETTE = (BLUE, VERMILION, GREEN, ORANGE, PINK, SKY, BLACK, YELLOW)
WIDTH, HEIGHT = 560, 400
FONT_SIZE = "14px"
TOOLS = "pan,wheel_zoom,box_zoom,reset,save"


@dataclass(frozen=True)
class Panel:
    """One drawing of the page.

    Attributes:
        title: a heading; plain text, which the page escapes.
        words: what it shows and how to read it; plain text, which the page escapes.
        drawing: the figure, or a layout of several.
    """

    title: str
    words: str
    drawing: LayoutDOM


def plain_figure(**settings: object) -> figure:
    """A figure in the looks of the page: readable type, a light grid, no logo.

    Args:
        settings: of Bokeh's `figure`; they come before ours.
    """
    ours = {"width": WIDTH, "height": HEIGHT, "tools": TOOLS}
    made = figure(**{**ours, **settings})
    made.toolbar.logo = None
    for axis in (*made.xaxis, *made.yaxis):
        axis.axis_label_text_font_size = FONT_SIZE
        axis.axis_label_text_font_style = "normal"
        axis.major_label_text_font_size = FONT_SIZE
    made.grid.grid_line_alpha = 0.4
    made.title.text_font_size = FONT_SIZE
    return made


def decimal_marks() -> dict[str, Ticker | TickFormatter]:
    """Ticker and formatter of a logarithmic axis: at 1, 2, 5, 10 and so on, in plain numbers."""
    ticker = LogTicker(mantissas=[1, 2, 5])
    return {"ticker": ticker, "formatter": NumeralTickFormatter(format="0,0.[00]")}


def named_ticks(axis: Axis, names: Sequence[str]) -> None:
    """Names the places 0, 1, 2 and so on of an axis. Equal names stay apart, unlike factors."""
    axis.ticker = FixedTicker(ticks=list(range(len(names))))
    axis.major_label_overrides = dict(enumerate(names))


def side_by_side(drawings: Sequence[LayoutDOM]) -> LayoutDOM:
    """Drawings in a row, which goes on below where the window ends."""
    return Row(children=list(drawings), spacing=16, styles={"flex-wrap": "wrap"})
