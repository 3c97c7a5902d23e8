"""The best of several versions of a model within a loss, by point estimates: pure.

For which models of a search are kept. What to ship is decided by a test:
`compress.analysis.decision`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from compress.records.schema import FinishedRun, Split
from compress.records.score_words import at_most_words
from compress.records.scores import SCORES

# What may be lost of the quality: see `compress.records.scores`.
LITTLE, MORE = 0.01, 0.03
# Differences of shares are not exact: 0.86 - 0.85 is a little more than 0.01.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Candidate:
    """One version of a model.

    Attributes:
        change: of quality against the baseline, negative where it is worse.
    """

    name: str
    change: float
    size_bytes: int
    latency_ms: float


@dataclass(frozen=True)
class Budget:
    """Allowed loss of quality.

    Attributes:
        most: of quality.
    """

    name: str
    most: float

    def allows(self, candidate: Candidate) -> bool:
        """Whether the candidate loses no more."""
        return candidate.change >= -self.most - ROUNDING


@dataclass(frozen=True)
class Winner:
    """The best candidates within a budget.

    Attributes:
        kinds: by what they are best at: smallest, fastest, balanced; empty if none is within it.
            The balanced one has the smallest product of size and latency: no other one is smaller
            by more than it is slower, or faster by more than it is larger.
    """

    budget: Budget
    kinds: Mapping[str, Candidate]


def budgets_of(metric: str) -> tuple[Budget, Budget]:
    """The budgets, named for the score that is to be kept; the strictest one first."""
    kind = SCORES[metric]
    return (
        Budget(at_most_words(kind, LITTLE), LITTLE),
        Budget(at_most_words(kind, MORE), MORE),
    )


def winners(candidates: Sequence[Candidate], budgets: Sequence[Budget]) -> list[Winner]:
    """The best candidates within each budget.

    Of two that are equally fast the smaller one wins, of two equally small ones the faster one.
    """
    found = []
    for budget in budgets:
        kinds = {}
        if within := [each for each in candidates if budget.allows(each)]:
            kinds = {
                "smallest": min(within, key=lambda c: (c.size_bytes, c.latency_ms)),
                "fastest": min(within, key=lambda c: (c.latency_ms, c.size_bytes)),
                "balanced": min(within, key=lambda c: c.latency_ms * c.size_bytes),
            }
        found.append(Winner(budget, kinds))
    return found


def candidate(name: str, record: FinishedRun, split: Split, latency_ms: float) -> Candidate:
    """A run as a candidate.

    Args:
        name: that no other candidate has.
        record: of a run with figures; with those of the split.
        split: whose rows it is evaluated on.
        latency_ms: one that compares between the candidates. Milliseconds of different runs differ
            with whatever else the machine did, ratios to the baseline of the same run do not.
    """
    ours, theirs = record.metrics, record.baseline
    return Candidate(
        name=name,
        change=ours.score_on(split).quality - theirs.score_on(split).quality,
        size_bytes=ours.size_bytes,
        latency_ms=latency_ms,
    )
