"""The runs that a drawing with room for a few takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np

from compress.analysis.pareto import Direction, pareto_front
from compress.records.schema import FinishedRun
from compress.report.sections import Section

Run: TypeAlias = tuple[Path, FinishedRun]
Item = TypeVar("Item")
BETTER: tuple[Direction, ...] = ("higher", "lower", "higher")


def front_runs(runs: Sequence[Run]) -> list[Run]:
    """The Pareto front of score, size and speed-up at the first shape, the best score first.

    Args:
        runs: of one section; none of them gives none.
    """
    if not runs:
        return []
    points = np.array([_figures(record) for _, record in runs])
    front = [run for run, best in zip(runs, pareto_front(points, BETTER), strict=True) if best]
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


def baseline_ms(section: Section) -> float:
    """The median of all runs' baselines at the first shape, in milliseconds.

    Divided by a speed-up that counts it gives a latency that compares between runs, which
    milliseconds of different minutes do not.
    """
    medians = [record.baseline.latency[0].median_ms for _, record in section.runs]
    return float(np.median(medians))


def _figures(record: FinishedRun) -> tuple[float, float, float]:
    ours = record.metrics
    return ours.score.quality, float(ours.size_bytes), record.speedup[0].counted
