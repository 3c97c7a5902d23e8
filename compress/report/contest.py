"""The runs of a section as candidates: the best within each budget, and the one to ship. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compress.analysis.budgets import (
    Budget,
    Candidate,
    Split,
    Winner,
    budgets_of,
    candidate,
    winners,
)
from compress.records.schema import FinishedRun
from compress.records.scores import SCORES, ScoreKind
from compress.report.points import Shape, known_speedup, latency_figure, run_name, shapes_of
from compress.report.sections import Section

# A gain below it is no reason to ship another model: a model timed against itself is up to 3 %
# faster by chance (docs/noise.md).
WORTH = 1.05


@dataclass(frozen=True)
class Contest:
    """The runs of a section that can be compared at a shape.

    Attributes:
        runs: by name, folder and record.
        candidates: in the same order.
    """

    metric: str
    shape: Shape
    split: Split
    runs: Mapping[str, tuple[Path, FinishedRun]]
    candidates: tuple[Candidate, ...]

    @property
    def best(self) -> list[Winner]:
        """The best within each budget."""
        return winners(self.candidates, budgets_of(self.metric))

    @property
    def kind(self) -> ScoreKind:
        """What kind of score that is."""
        return SCORES[self.metric]


def contest_of(section: Section, root: Path) -> Contest:
    """The runs of a section that were timed at the shape that most of them were timed at."""
    records = [record for _, record in section.runs]
    shape = shapes_of(records)[0]
    split = deciding_split(records)
    latencies = latency_figure(records, shape).values
    runs, candidates = {}, []
    for (folder, record), latency in zip(section.runs, latencies, strict=True):
        if not np.isnan(latency):
            name = run_name(folder, root)
            runs[name] = (folder, record)
            candidates.append(candidate(name, record, split, float(latency)))
    return Contest(section.metric, shape, split, runs, tuple(candidates))


def deciding_split(records: Sequence[FinishedRun]) -> Split:
    """Validation where every run and its teacher were scored on it; two splits never mix."""
    scored = all(
        m.validation is not None for record in records for m in (record.metrics, record.baseline)
    )
    return "validation" if scored else "evaluation"


def chosen_of(contest: Contest) -> tuple[Candidate, Budget] | None:
    """The balanced one of the runs worth shipping, within the first budget that one is within."""
    worth = [each for each in contest.candidates if _gains(contest, each)]
    by_chance, *strict = winners(worth, budgets_of(contest.metric))
    # A budget of chance comes last: the fewer rows, the more it allows.
    for winner in (*strict, by_chance):
        if winner.kinds:
            return winner.kinds["balanced"], winner.budget
    return None


def _gains(contest: Contest, one: Candidate) -> bool:
    """Whether a run is clearly smaller or faster than its teacher, and not the contrary of one."""
    _, record = contest.runs[one.name]
    ours, theirs = record.metrics, record.baseline
    faster = known_speedup(record, contest.shape).counted
    smaller = theirs.size_bytes / ours.size_bytes
    return min(smaller, faster) * WORTH > 1 and max(smaller, faster) > WORTH
