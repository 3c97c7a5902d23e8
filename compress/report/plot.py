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
from compress.records import ModelMetrics, RunRecord
from compress.report.table import recipe

# Okabe & Ito 2008: told apart by colour-blind readers.
FRONT, BASELINE, GREY = "#0072B2", "#D55E00", "#9A9A9A"
LISTED = 14  # front points named below the plots; the table has them all


@dataclass(frozen=True)
class Point:
    """One run on the plots."""

    label: str
    recipe: str
    metrics: ModelMetrics


@dataclass(frozen=True)
class Axis:
    """What is drawn against accuracy."""

    title: str
    values: Float[np.ndarray, " points"]
    baseline: float


def plot_pareto(runs: Sequence[tuple[Path, RunRecord]], path: Path) -> None:
    """Draws runs of one task on one machine and writes the figure.

    Args:
        runs: folder and record of each, all with figures; at least one.
        path: where to write; the suffix decides the format.
    """
    points = [Point(_label(folder), recipe(record), _metrics(record)) for folder, record in runs]
    first = runs[0][1]
    assert first.baseline is not None
    shape = first.baseline.latency[0]
    axes = [
        Axis(
            "size on disk (MB)",
            np.array([p.metrics.size_bytes / 1e6 for p in points]),
            first.baseline.size_bytes / 1e6,
        ),
        Axis(
            f"median latency (ms), batch {shape.batch} × {shape.length} tokens",
            np.array([p.metrics.latency[0].median_ms for p in points]),
            _median_baseline_ms(runs),
        ),
    ]
    with matplotlib.rc_context({"font.size": 10, "svg.hashsalt": "compress"}):
        figure = Figure(figsize=(11, 6.4), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        fronts = [_panel(ax, axis, points, first) for ax, axis in zip(panels, axes, strict=True)]
        panels[0].set_ylabel("accuracy on held-out rows (95 % interval)")
        named = [point for i, point in enumerate(points) if fronts[0][i] or fronts[1][i]]
        figure.suptitle(f"{first.choices['task']}: what accuracy costs", fontweight="bold")
        figure.supxlabel(_caption(named, first), fontsize=8.5, ha="left", x=0.01)
        figure.savefig(path, dpi=150)


def _panel(ax: Axes, axis: Axis, points: Sequence[Point], record: RunRecord) -> list[bool]:
    accuracy = np.array([p.metrics.score.accuracy for p in points])
    front = pareto_front(np.stack([accuracy, axis.values], axis=1), ["higher", "lower"])
    for on_front, colour, name in ((False, GREY, "dominated"), (True, FRONT, "Pareto front")):
        chosen = np.flatnonzero(front == on_front)
        if not chosen.size:
            continue
        scores = [points[i].metrics.score for i in chosen]
        below = [s.accuracy - s.accuracy_low for s in scores]
        above = [s.accuracy_high - s.accuracy for s in scores]
        ax.errorbar(
            axis.values[chosen], accuracy[chosen], yerr=[below, above], fmt="o", color=colour,
            markersize=7, elinewidth=0.8, ecolor=colour, alpha=0.9, label=name, zorder=2 + on_front,
        )  # fmt: skip
    _draw_front(ax, axis.values[front], accuracy[front])
    for i in np.flatnonzero(front):
        ax.annotate(
            points[i].label, (axis.values[i], accuracy[i]), xytext=(7, 5),
            textcoords="offset points", color=FRONT, fontweight="bold", fontsize=9,
        )  # fmt: skip
    assert record.baseline is not None
    theirs = record.baseline.score.accuracy
    ax.plot(
        axis.baseline, theirs, "*", color=BASELINE, markersize=15, zorder=4,
        label=f"teacher ({record.choices['teacher']}), {axis.baseline:.3g}",
    )  # fmt: skip
    ax.set_xlabel(axis.title)
    ax.set_xlim(0, 1.12 * max(axis.baseline, axis.values.max()))
    ax.grid(alpha=0.25)
    ax.legend(loc="lower right", fontsize=8.5)
    return front.tolist()


def _draw_front(ax: Axes, values: Float[np.ndarray, " n"], accuracy: Float[np.ndarray, " n"]) -> None:
    """A staircase: between two points nothing better than the left one was seen."""
    order = np.lexsort((accuracy, values))
    ax.step(values[order], accuracy[order], where="post", color=FRONT, linewidth=1.2, alpha=0.6)


def _caption(named: Sequence[Point], record: RunRecord) -> str:
    """The front's recipes, and what the figures were measured on."""
    assert record.environment is not None
    assert record.data is not None
    assert record.metrics is not None
    lines = [
        f"{p.label}  {p.recipe}: accuracy {p.metrics.score.accuracy:.3f}, "
        f"{p.metrics.size_bytes / 1e6:.1f} MB, {p.metrics.latency[0].median_ms:.1f} ms"
        for p in named[:LISTED]
    ]
    if len(named) > LISTED:
        lines.append(f"… and {len(named) - LISTED} more, see results.md")
    env, score = record.environment, record.metrics.score
    what = (
        f"{env.machine}; {env.device}; torch {env.versions['torch']}. "
        f"{record.data.source} (n = {score.samples})."
    )
    return "\n".join(lines + textwrap.wrap(what, 150))


def _median_baseline_ms(runs: Sequence[tuple[Path, RunRecord]]) -> float:
    """The teacher is timed in every run; the plot shows the median of these."""
    found = [r.baseline.latency[0].median_ms for _, r in runs if r.baseline is not None]
    return float(np.median(found))


def _metrics(record: RunRecord) -> ModelMetrics:
    assert record.metrics is not None
    return record.metrics


def _label(folder: Path) -> str:
    return f"#{folder.name}" if folder.name.isdecimal() else folder.name
