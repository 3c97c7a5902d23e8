"""Pareto plots for print: score, size and latency, one figure a task and machine."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from compress.config.legible import visible
from compress.records.schema import FinishedRun
from compress.records.score_words import kind_of, most_words
from compress.report.controls import control_rows
from compress.report.labels import place_labels
from compress.report.paper.axes import Axis, latency_axis, plain_marks, score_axis, size_axis
from compress.report.paper.caption import condition_lines, front_lines
from compress.report.points import AS_GOOD, places, shapes_of, speedup_at
from compress.report.points import FRONT as ON_FRONT
from compress.system.files import write_atomically

# Okabe & Ito 2008: distinguished by color-blind readers.
FRONT, BASELINE, GREY = "#0072B2", "#D55E00", "#8A8A8A"
DIM = "#5F5F5F"  # of type, which needs more contrast than dots
# By which values are better. Dark is good; even in lightness, so it survives a grey printer too.
COLORS = {"higher": "cividis_r", "lower": "cividis"}
WIDTH, PANELS_HEIGHT = 7.2, 6.0  # inches: a page's width, so that type is printed as large as it is
FONT = 8.5  # points; nothing is smaller than 8
SMALL = 8.0
LINE = 0.147  # inches of height that a line of small type takes
LEGEND = 38  # characters of small type beside a panel
TITLE = 34  # and those beside a vertical axis
FEW = 12  # runs of which all are named
LISTED = 24  # front points that are named; the table has them all
MANY = 60  # points from which on bars are drawn of the front alone
DOT: dict[str, Any] = {
    "marker": "o", "markersize": 6, "linestyle": "none", "markeredgewidth": 0.8,
}  # fmt: skip
STAR: dict[str, Any] = {
    "marker": "*", "markersize": 12, "linestyle": "none", "color": BASELINE,
    "markeredgecolor": "white",
}  # fmt: skip
TRIANGLES = ("^", "v")  # one for each control of a teacher
TRIANGLE: dict[str, Any] = {
    "markersize": 8, "linestyle": "none", "color": "white", "markeredgecolor": BASELINE,
    "markeredgewidth": 1.2,
}  # fmt: skip
STYLE: Any = {
    "font.size": FONT,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    # Names come from configs: "$" is no formula there.
    "text.parse_math": False,
    # The same records give the same bytes.
    "svg.hashsalt": "compress",
    "svg.fonttype": "path",
}


@dataclass(frozen=True)
class Plane:
    """Two figures of all runs.

    Attributes:
        front: true for each run that no other one beats in what the panel is about.
        close: true for each that cannot be distinguished from one of these.
    """

    x: Axis
    y: Axis
    front: Bool[np.ndarray, " points"]
    close: Bool[np.ndarray, " points"]

    @property
    def barred(self) -> Bool[np.ndarray, " points"]:
        """True for each run whose intervals are drawn."""
        drawn: Bool[np.ndarray, " points"] = self.front | (len(self.front) < MANY)
        return drawn


def plot_pareto(runs: Sequence[tuple[Path, FinishedRun]], path: Path) -> None:
    """Draws runs of one task on one machine; writes a PNG, and an SVG beside it.

    Args:
        runs: folder and record of each, all with figures; at least one. Left out are those that
            were not timed at the shape that most of them were timed at.
        path: of the PNG.
    """
    shape = shapes_of(record for _, record in runs)[0]
    runs = [run for run in runs if speedup_at(run[1], shape) is not None]
    records = [record for _, record in runs]
    score, size = score_axis(records), size_axis(records)
    latency = latency_axis(records, shape)
    panels = [
        *(Plane(x, score, *_marks([score, x])) for x in (size, latency)),
        Plane(size, latency, *_marks([score, size, latency])),
    ]
    order = _best_first(panels, records)
    labels = _names([folder for folder, _ in runs])
    named = {row: labels[row] for row in order[:LISTED]}
    most = most_words(kind_of(records[0].metrics.score))
    left_out = f"Of {len(order)} runs on these fronts the {LISTED} {most} are named."
    extra = [left_out] if len(order) > LISTED else []
    caption = [*front_lines(runs, shape, named), *extra, "", *condition_lines(runs)]
    with matplotlib.rc_context(STYLE):
        height = PANELS_HEIGHT + LINE * len(caption)
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        drawn = _draw(figure, panels, records)
        figure.supxlabel("\n".join(caption), fontsize=SMALL, ha="left", x=0.01)
        # Only now is it known where points will lie.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        for ax, panel in zip(drawn, panels, strict=True):
            _label(ax, panel, named)
        write_atomically(path, _bytes(figure, "png", {}))
        write_atomically(path.with_suffix(".svg"), _bytes(figure, "svg", {"Date": None}))


def _bytes(figure: Figure, kind: str, metadata: dict[str, None]) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=150, metadata=metadata)
    return buffer.getvalue()


def _marks(axes: Sequence[Axis]) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    found = np.array(places([axis.figure for axis in axes]))
    return found == ON_FRONT, found == AS_GOOD


def _names(folders: Sequence[Path]) -> list[str]:
    """What runs are called: their folders' names, with those of the parents if two are alike."""
    own = [visible(folder.name) for folder in folders]
    if len(set(own)) == len(own):
        return own
    return [visible(f"{folder.parent.name}/{folder.name}") for folder in folders]


def _best_first(panels: Sequence[Plane], records: Sequence[FinishedRun]) -> list[int]:
    """The runs on some panel's front, of few runs all; the one of the best score first."""
    few = len(records) <= FEW
    named = np.flatnonzero(np.any([panel.front | few for panel in panels], axis=0))
    return sorted(map(int, named), key=lambda row: -records[row].metrics.score.quality)


def _draw(figure: Figure, panels: Sequence[Plane], records: Sequence[FinishedRun]) -> list[Axes]:
    """The three panels, and the legend where a fourth would be."""
    grid = figure.add_gridspec(2, 2)
    first = figure.add_subplot(grid[0, 0])
    second = figure.add_subplot(grid[0, 1], sharey=first)
    third = figure.add_subplot(grid[1, 0])
    drawn = [first, second, third]
    controls = [row.title for row in control_rows(records)]
    markers = dict(zip(dict.fromkeys(controls), cycle(TRIANGLES), strict=False))
    for ax, panel in zip(drawn[:2], panels[:2], strict=True):
        _points(ax, panel)
        _staircase(ax, panel)
    colors = _colored_points(third, panels[2], panels[0].y)
    for ax, panel in zip(drawn, panels, strict=True):
        ax.plot(panel.x.baseline, panel.y.baseline, **STAR, zorder=6)
        for title, x, y in zip(controls, panel.x.controls, panel.y.controls, strict=True):
            ax.plot(x, y, **TRIANGLE, marker=markers[title], zorder=6)
        ax.set_xlabel(panel.x.title)
        ax.set_ylabel(textwrap.fill(panel.y.title, TITLE))
        if panel.x.logarithmic:
            ax.set_xscale("log")
            plain_marks(ax.xaxis)
        ax.set_xlim(*panel.x.ends)
        ax.grid(alpha=0.25)
    if panels[2].y.logarithmic:
        third.set_yscale("log")
        plain_marks(third.yaxis)
    third.set_ylim(*panels[2].y.ends)
    kind, choices = kind_of(records[0].baseline.score), records[0].choices
    wanted = kind.words if kind.better == "higher" else f"low {kind.words}"
    title = f"{choices['task']}: what {wanted} costs"
    figure.suptitle(title, fontweight="bold", ha="left", x=0.01)
    corner = figure.add_subplot(grid[1, 1])
    corner.axis("off")
    teacher = textwrap.fill(f"teacher ({choices['teacher']})", LEGEND)
    handles = _legend(teacher, markers, panels[0], kind.words)
    corner.legend(handles=handles, loc="lower left", frameon=False, labelspacing=0.4)
    bar = corner.inset_axes((0.06, 0.94, 0.9, 0.05))
    figure.colorbar(colors, cax=bar, orientation="horizontal", label=f"left: {kind.words}")
    bar.xaxis.set_major_locator(MaxNLocator(5))
    if panels[0].y.logarithmic:
        first.set_yscale("log")
        plain_marks(first.yaxis)
        plain_marks(bar.xaxis)
    return drawn


def _points(ax: Axes, panel: Plane) -> None:
    """The runs and their intervals; those of the front on top."""
    beaten = ~panel.front & ~panel.close
    for order, (which, color, face) in enumerate(
        ((beaten, GREY, GREY), (panel.close, GREY, "white"), (panel.front, FRONT, FRONT))
    ):
        _bars(ax, panel, which, color, order)
        ax.plot(
            panel.x.values[which], panel.y.values[which], **DOT,
            markeredgecolor="white" if face == color else color, markerfacecolor=face,
            zorder=3 + order,
        )  # fmt: skip


def _colored_points(ax: Axes, panel: Plane, shade: Axis) -> ScalarMappable:
    """The runs by a third figure's color: rings if not distinguished, dark edges on the front."""
    scale = LogNorm if shade.logarithmic else Normalize
    colors = ScalarMappable(scale(*_range(shade.values)), COLORS[shade.figure.better])
    for row in np.argsort(panel.front, kind="stable"):
        own = to_hex(tuple(colors.to_rgba(shade.values[row])))
        _bars(ax, panel, np.arange(len(panel.front)) == row, own, 0)
        ax.plot(
            panel.x.values[row], panel.y.values[row], **DOT, zorder=3 + panel.front[row],
            markeredgecolor="black" if panel.front[row] else own if panel.close[row] else "white",
            markerfacecolor="white" if panel.close[row] else own,
        )  # fmt: skip
    return colors


def _range(values: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """The ends of a scale of colors, some way apart even if all values are equal."""
    middle, half = (values.min() + values.max()) / 2, max(np.ptp(values) / 2, 0.005)
    return float(middle - half), float(middle + half)


def _bars(ax: Axes, panel: Plane, which: Bool[np.ndarray, " n"], color: str, order: int) -> None:
    """Intervals of 95 %, where there are any to see."""
    which = which & panel.barred
    if not which.any():
        return
    sides = [axis.bars()[:, which] if axis.bars().any() else None for axis in (panel.x, panel.y)]
    ax.errorbar(
        panel.x.values[which], panel.y.values[which], xerr=sides[0], yerr=sides[1],
        fmt="none", ecolor=color, elinewidth=0.7, alpha=0.55, zorder=1 + order / 10,
    )  # fmt: skip


def _staircase(ax: Axes, panel: Plane) -> None:
    """Between two points of a front nothing better than the left one was seen."""
    x, y = panel.x.values[panel.front], panel.y.values[panel.front]
    order = np.lexsort((y, x))
    ax.step(x[order], y[order], where="post", color=FRONT, linewidth=1.1, alpha=0.6, zorder=2)


def _label(ax: Axes, panel: Plane, named: dict[int, str]) -> None:
    """Names where they cover nothing: those of the front's runs, of few runs all."""
    rows = [row for row in named if panel.front[row] or len(panel.front) <= FEW]
    scale = 72 / ax.figure.dpi  # points in a pixel
    places = np.stack([panel.x.values, panel.y.values], axis=1)
    places = np.vstack([places, [[panel.x.baseline, panel.y.baseline]]])
    points = ax.transData.transform(places) * scale
    sizes = np.array([[0.7 * SMALL * len(named[row]), 0.8 * SMALL] for row in rows]) + 2
    frame = Bbox(ax.get_window_extent().get_points() * scale)
    centers = place_labels(points[rows], sizes.reshape(-1, 2), points, frame, DOT["markersize"] / 2)
    for row, center in zip(rows, centers, strict=True):
        color = FRONT if panel.front[row] else DIM
        ax.annotate(
            named[row], places[row], xytext=center - points[row], textcoords="offset points",
            ha="center", va="center", fontsize=SMALL, fontweight="bold", zorder=7, color=color,
            path_effects=[withStroke(linewidth=1.8, foreground="white")],
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.5, "shrinkB": 2},
        )  # fmt: skip


def _legend(teacher: str, markers: Mapping[str, str], panel: Plane, score: str) -> list[Line2D]:
    """What is drawn; `markers` are of the controls, by title."""
    bars = "95 % interval" if panel.barred.all() else "95 % interval, of front points only"
    return [
        Line2D([], [], **DOT, markeredgecolor="white", markerfacecolor=FRONT,
               label="on the front: no run beats it"),
        Line2D([], [], **DOT, markeredgecolor=GREY, markerfacecolor="white",
               label="dominated, but all intervals overlap\nwith those of one on the front"),
        Line2D([], [], **DOT, markeredgecolor="white", markerfacecolor=GREY,
               label="dominated by another run"),
        Line2D([], [], **STAR, label=teacher),
        *(Line2D([], [], **TRIANGLE, marker=marker, label=textwrap.fill(title, LEGEND))
          for title, marker in markers.items()),
        Line2D([], [], color=GREY, linewidth=0.7, label=bars),
        Line2D([], [], **DOT, markeredgecolor="black", markerfacecolor="none",
               label=f"left: no run beats it in\n{score}, size and latency at once"),
    ]  # fmt: skip
