"""Pareto plots: accuracy against size and against latency, one figure a task and machine."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from compress.pareto import pareto_front
from compress.records import ModelMetrics, RunRecord, Speedup
from compress.report.table import recipe
from compress.report.words import warnings

# Okabe & Ito 2008: told apart by colour-blind readers.
FRONT, BASELINE, GREY = "#0072B2", "#D55E00", "#9A9A9A"
# Neighbours on a front lie close together: their labels go to different sides, in points.
LABEL_OFFSETS = ((-22, -14), (-20, 10), (6, -16), (7, 9))
LISTED = 14  # front points named below the plots; the table has them all


@dataclass(frozen=True)
class Point:
    """One run on the plots.

    Attributes:
        speedup: over the teacher, timed in the same run, at the first shape.
    """

    label: str
    recipe: str
    metrics: ModelMetrics
    speedup: Speedup


@dataclass(frozen=True)
class Axis:
    """What is drawn against accuracy.

    Attributes:
        low: lower ends of the values' 95 % intervals; the values themselves where exact.
        high: upper ends of them.
    """

    title: str
    values: Float[np.ndarray, " points"]
    low: Float[np.ndarray, " points"]
    high: Float[np.ndarray, " points"]
    baseline: float


def plot_pareto(runs: Sequence[tuple[Path, RunRecord]], path: Path) -> None:
    """Draws runs of one task on one machine and writes the figure.

    Args:
        runs: folder and record of each, all with figures; at least one.
        path: where to write; the suffix decides the format.
    """
    points = [
        Point(_label(folder), recipe(record), _metrics(record), record.speedup[0])
        for folder, record in runs
    ]
    first = runs[0][1]
    assert first.baseline is not None
    axes = [_size_axis(points, first.baseline), _latency_axis(points, runs)]
    with matplotlib.rc_context({"font.size": 10}):
        figure = Figure(figsize=(11, 6.4), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        fronts = [_panel(ax, axis, points, first) for ax, axis in zip(panels, axes, strict=True)]
        panels[0].set_ylabel("accuracy on held-out rows (95 % interval)")
        title = f"{first.choices['task']}: what accuracy costs"
        figure.suptitle(title, fontweight="bold", ha="left", x=0.01)
        handles = {h.get_label(): h for ax in panels for h in ax.get_legend_handles_labels()[0]}
        figure.legend(handles=list(handles.values()), loc="outside upper right", ncols=3)
        named = [point for i, point in enumerate(points) if fronts[0][i] or fronts[1][i]]
        caption = [*_caption(named), *_conditions(runs)]
        figure.supxlabel("\n".join(caption), fontsize=8.5, ha="left", x=0.01)
        figure.savefig(path, dpi=150)


def _size_axis(points: Sequence[Point], baseline: ModelMetrics) -> Axis:
    size = np.array([point.metrics.size_bytes / 1e6 for point in points])
    return Axis("size on disk (MB)", size, size, size, baseline.size_bytes / 1e6)


def _latency_axis(points: Sequence[Point], runs: Sequence[tuple[Path, RunRecord]]) -> Axis:
    """The teacher's median over all runs, divided by each run's own speed-up over it.

    Milliseconds of different runs differ with whatever else the machine did; the ratio to the
    teacher that was timed in turns with the candidate does not.
    """
    teacher = float(np.median([_baseline_ms(record) for _, record in runs]))
    ratio, low, high = (
        np.array([getattr(point.speedup, name) for point in points])
        for name in ("ratio", "low", "high")
    )
    shape = points[0].speedup
    title = f"latency (ms) of {shape.batch} × {shape.length} tokens: teacher's ÷ speed-up"
    return Axis(title, teacher / ratio, teacher / high, teacher / low, teacher)


def _panel(ax: Axes, axis: Axis, points: Sequence[Point], record: RunRecord) -> list[bool]:
    accuracy = np.array([p.metrics.score.accuracy for p in points])
    front = pareto_front(np.stack([accuracy, axis.values], axis=1), ["higher", "lower"])
    for on_front, colour, name in ((False, GREY, "dominated"), (True, FRONT, "Pareto front")):
        chosen = [i for i, on in enumerate(front) if on == on_front]
        if not chosen:
            continue
        scores = [points[i].metrics.score for i in chosen]
        below = [s.accuracy - s.accuracy_low for s in scores]
        above = [s.accuracy_high - s.accuracy for s in scores]
        values = axis.values[chosen]
        sides = [
            np.maximum(values - axis.low[chosen], 0),
            np.maximum(axis.high[chosen] - values, 0),
        ]
        ax.errorbar(
            values, accuracy[chosen], yerr=[below, above], xerr=sides, fmt="o", color=colour,
            markersize=7, elinewidth=0.8, alpha=0.9, label=name, zorder=2 + on_front,
        )  # fmt: skip
    _draw_front(ax, axis.values[front], accuracy[front])
    in_order = sorted((i for i, on in enumerate(front) if on), key=lambda i: axis.values[i])
    for place, i in enumerate(in_order):
        ax.annotate(
            points[i].label, (axis.values[i], accuracy[i]),
            xytext=LABEL_OFFSETS[place % len(LABEL_OFFSETS)], textcoords="offset points",
            color=FRONT, fontweight="bold", fontsize=9,
        )  # fmt: skip
    assert record.baseline is not None
    theirs = record.baseline.score.accuracy
    name = f"teacher ({record.choices['teacher']})"
    ax.plot(axis.baseline, theirs, "*", color=BASELINE, markersize=15, zorder=4, label=name)
    ax.set_xlabel(axis.title)
    ax.set_xlim(0, 1.12 * max(axis.baseline, axis.high.max()))
    ax.grid(alpha=0.25)
    return [bool(on) for on in front]


def _draw_front(
    ax: Axes, values: Float[np.ndarray, " n"], accuracy: Float[np.ndarray, " n"]
) -> None:
    """A staircase: between two points nothing better than the left one was seen."""
    order = np.lexsort((accuracy, values))
    ax.step(values[order], accuracy[order], where="post", color=FRONT, linewidth=1.2, alpha=0.6)


def _caption(named: Sequence[Point]) -> list[str]:
    """The front's recipes."""
    lines = [
        f"{p.label}  {p.recipe}: accuracy {p.metrics.score.accuracy:.3f}, "
        f"{p.metrics.size_bytes / 1e6:.1f} MB, {_speed(p.speedup)}"
        for p in named[:LISTED]
    ]
    if len(named) > LISTED:
        lines.append(f"… and {len(named) - LISTED} more, see results.md")
    return lines


def _speed(speed: Speedup) -> str:
    if speed.difference is False:
        return "no faster and no slower than the teacher"
    return f"{speed.ratio:.2f} times as fast as the teacher"


def _conditions(runs: Sequence[tuple[Path, RunRecord]]) -> list[str]:
    """What the figures were measured on, and with."""
    _, record = runs[0]
    assert record.environment is not None
    assert record.data is not None
    env, score = record.environment, _metrics(record).score
    used = sorted({"torch", *(_metrics(each).runtime for _, each in runs)})
    versions = ", ".join(f"{name} {env.versions[name]}" for name in used if name in env.versions)
    what = f"{env.machine}; {env.device}; {versions}. {record.data.source} (n = {score.samples})."
    return [line for words in (what, *warnings(runs)) for line in textwrap.wrap(words, 150)]


def _baseline_ms(record: RunRecord) -> float:
    assert record.baseline is not None
    return record.baseline.latency[0].median_ms


def _metrics(record: RunRecord) -> ModelMetrics:
    assert record.metrics is not None
    return record.metrics


def _label(folder: Path) -> str:
    return f"#{folder.name}" if folder.name.isdecimal() else folder.name
