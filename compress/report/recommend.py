"""Which model to ship, in plain sentences, and the best within each budget. Pure.

Where every run of a section was scored on validation rows, these choose and the figures shown are
of the evaluation rows, which were not used for selection.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compress.analysis.budgets import MORE, Budget, Candidate, Split, titles
from compress.analysis.pareto import knee
from compress.records.schema import FinishedRun
from compress.records.score_words import (
    difference_words,
    kind_of,
    more_than_words,
    score_words,
    value_words,
)
from compress.records.words import change_words, fast_words, megabytes, named_runs
from compress.report.contest import Contest, chosen_of, contest_of
from compress.report.controls import better_words
from compress.report.points import (
    Shape,
    alike,
    known_speedup,
    latency_figure,
    score_figure,
    size_figure,
)
from compress.report.sections import Section

NO_WORSE = "neither larger nor measurably slower than the teacher"


@dataclass(frozen=True)
class Pick:
    """A run that is the best at something.

    Attributes:
        change: of quality against the teacher on the rows that chose.
        wins: what it is the best at: "smallest, balanced: no measurable loss".
    """

    name: str
    folder: Path
    record: FinishedRun
    change: float
    latency_ms: float
    wins: tuple[str, ...]


@dataclass(frozen=True)
class Advice:
    """What to do with the runs of a section.

    Attributes:
        split: whose rows chose.
        picks: the best within the budgets, each once; the one to ship first.
        words: sentences, the verdict first.
        ship: name of the run to ship; null if the teacher, or none, is better kept.
    """

    section: Section
    shape: Shape
    split: Split
    picks: tuple[Pick, ...]
    words: tuple[str, ...]
    ship: str | None


def advise(section: Section, root: Path) -> Advice:
    """The recommendation for a section; runs are named by their folders below the root."""
    contest = contest_of(section, root)
    chosen = chosen_of(contest)
    won = titles(contest.best)
    ship = None if chosen is None else chosen[0].name
    if ship is not None:
        won.setdefault(ship, [f"balanced: {NO_WORSE}"])
    by_name = {each.name: each for each in contest.candidates}
    picks = []
    for name in sorted(won, key=lambda name: name != ship):
        each = by_name[name]
        picks.append(
            Pick(name, *contest.runs[name], each.change, each.latency_ms, tuple(won[name]))
        )
    best = None if ship is None else contest.runs[ship][1]
    verdict, *reasons = _verdict(contest, chosen)
    rivals = better_words([record for _, record in section.runs], contest.shape, best)
    words = (" ".join([verdict, *rivals]), *reasons, *_left_out(section, contest))
    return Advice(section, contest.shape, contest.split, tuple(picks), words, ship)


def _verdict(contest: Contest, chosen: tuple[Candidate, Budget] | None) -> Iterator[str]:
    if chosen is not None:
        best, budget = chosen
        _, record = contest.runs[best.name]
        yield f"Ship run {best.name}: {cost_words(record, contest.shape)}."
        yield from _reasons(contest, best, budget)
        return
    if any(winner.kinds for winner in contest.best):
        yield (
            f"Keep the teacher: no run within the budgets of {contest.kind.words} is smaller or "
            "faster without being worse in the other."
        )
    else:
        yield _nothing(contest)
    yield _evaluated_by(contest)


def _nothing(contest: Contest) -> str:
    nearest = max(contest.candidates, key=lambda each: each.change)
    _, record = contest.runs[nearest.name]
    ours, theirs = record.metrics, record.baseline
    return (
        f"Ship none of these runs: each {more_than_words(contest.kind, MORE)}. The nearest to the "
        f"teacher is run {nearest.name}, at {score_words(ours.score, 3)} where the teacher has "
        f"{value_words(contest.kind, theirs.score.value, 3)}, and {megabytes(ours.size_bytes)} MB "
        f"instead of {megabytes(theirs.size_bytes)}."
    )


def _reasons(contest: Contest, best: Candidate, budget: Budget) -> Iterator[str]:
    _, record = contest.runs[best.name]
    on_rows = f"On the test rows: {change_words(record)}."
    if contest.split == "validation":
        on_rows = (
            f"On the validation rows its {contest.kind.words} changes by "
            f"{difference_words(contest.kind, best.change)}. {on_rows}"
        )
    yield (
        f"With {budget.name} it is the balanced one, with the smallest product of size and time, "
        f"of the runs that are {NO_WORSE}. {on_rows}"
    )
    yield _evaluated_by(contest)
    yield from _rivals(contest, best)
    yield from _knee(contest, best)
    if record.environment.busy is not None:
        yield "Other processes used the CPU when this run began: time it again."


def _rivals(contest: Contest, best: Candidate) -> Iterator[str]:
    """Names the runs that are statistically indistinguishable from the best."""
    records = [record for _, record in contest.runs.values()]
    names = list(contest.runs)
    itself = np.array([name == best.name for name in names])
    score = score_figure(records)
    every = [score, size_figure(records), latency_figure(records, contest.shape)]
    overlapping = int((alike([score], itself) & ~itself).sum())
    if overlapping:
        rows, others = records[0].metrics.score.samples, len(names) - 1
        some = "any" if overlapping == others else f"{overlapping}"
        whom = "the other run" if others == 1 else f"{some} of the {others} other runs"
        yield f"By {contest.kind.words} alone {rows} test rows do not distinguish it from {whom}."
    same = alike(every, itself) & ~itself
    twins = [name for name, like in zip(names, same, strict=True) if like]
    if twins:
        yield (
            f"It is statistically indistinguishable from {named_runs(twins)}: the intervals of "
            f"{contest.kind.words} and of speed-up overlap, and the sizes differ by at most 1 %."
        )


def _knee(contest: Contest, best: Candidate) -> Iterator[str]:
    """Where quality, size and time are nearest to the best of each, whatever the budgets say."""
    every = contest.candidates
    points = np.array([[each.change, each.size_bytes, each.latency_ms] for each in every])
    bend = knee(points, ("higher", "lower", "lower"))
    if bend is not None and every[bend].name != best.name:
        yield (
            f"Without a budget, the knee of {contest.kind.words}, size and time is run "
            f"{every[bend].name}."
        )


def _evaluated_by(contest: Contest) -> str:
    records = [record for _, record in contest.runs.values()]
    ours = records[0].metrics
    if contest.split == "validation":
        assert ours.validation is not None
        chance = any(record.validation_comparison is None for record in records)
        strict = (
            " These records do not compare predictions row by row there, so no measurable loss "
            "means no loss at all."
        )
        return (
            f"Chosen on {ours.validation.samples} validation rows; the figures are of "
            f"{ours.score.samples} test rows, which were not used for selection."
            f"{strict if chance else ''}"
        )
    return (
        f"Chosen on the same {ours.score.samples} test rows as the figures, as not every run was "
        "scored on validation rows: the figures of the chosen run are optimistic."
    )


def _left_out(section: Section, contest: Contest) -> Iterator[str]:
    missing = len(section.runs) - len(contest.runs)
    if missing:
        shape = f"{contest.shape[0]} × {contest.shape[1]}"
        yield f"{missing} of {len(section.runs)} runs were not timed at {shape} and are left out."


def cost_words(record: FinishedRun, shape: Shape) -> str:
    """What a model is beside its teacher: bytes, time, score."""
    ours, theirs = record.metrics, record.baseline
    kind = kind_of(ours.score)
    return (
        f"{megabytes(ours.size_bytes)} MB instead of {megabytes(theirs.size_bytes)}, "
        f"{fast_words(known_speedup(record, shape))}, {kind.words} "
        f"{score_words(ours.score, 3)} where the teacher has "
        f"{value_words(kind, theirs.score.value, 3)}"
    )
