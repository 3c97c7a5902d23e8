"""The runs that a drawing with room for a few takes, and their labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np

from compress.analysis.pareto import Direction, pareto_front
from compress.records.recipe import recipe
from compress.records.schema import FinishedRun
from compress.report.html.panel import short
from compress.report.points import run_name

Run: TypeAlias = tuple[Path, FinishedRun]
Item = TypeVar("Item")
BETTER: tuple[Direction, ...] = ("higher", "lower", "higher")


def front_runs(runs: Sequence[Run]) -> list[Run]:
    """The Pareto front of score, size and speed-up at the first shape, the best score first."""
    if not runs:
        return []
    points = []
    for _, record in runs:
        ours = record.metrics
        points.append((ours.score.quality, ours.size_bytes, record.speedup[0].counted))
    best = pareto_front(np.array(points, dtype=float), BETTER)
    front = [run for run, on_front in zip(runs, best, strict=True) if on_front]
    return sorted(front, key=lambda run: -run[1].metrics.score.quality)


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many of some items in order, both ends among them, evenly apart."""
    if len(items) <= most:
        return list(items)
    return [items[round(place)] for place in np.linspace(0, len(items) - 1, most)]


def front_first(runs: Sequence[Run], most: int) -> list[Run]:
    """At most so many runs: of the front, and where that is shorter of the others in order."""
    front = front_runs(runs)
    folders = {folder for folder, _ in front}
    return [*spread(front, most), *(run for run in runs if run[0] not in folders)][:most]


def run_sign(folder: Path) -> str:
    """A run in the least space: "#3", or its folder's name where that is not a number."""
    name = run_name(folder, folder.parent)
    return f"#{name}" if name.isdecimal() else name


def run_label(folder: Path, record: FinishedRun, most: int = 44) -> str:
    """A run's name and recipe in at most so many signs: "#3 wanda sparsity=0.5"."""
    return short(f"{run_sign(folder)} {recipe(record)}", most)
