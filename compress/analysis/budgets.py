"""The best of several versions of a model, for what a user is ready to lose: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from compress.records.schema import FinishedRun, ModelMetrics, Score
from compress.records.score_words import at_most_words
from compress.records.scores import SCORES
from compress.records.words import SIGNIFICANT

Split: TypeAlias = Literal["validation", "evaluation"]

# What may be lost of the quality: see `compress.records.scores`.
LITTLE, MORE = 0.01, 0.03
# Differences of shares are not exact: 0.86 - 0.85 is a little more than 0.01.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Candidate:
    """One version of a model.

    Attributes:
        change: of quality against the baseline, negative where it is worse.
        p_value: how likely a difference like it is by chance; null if that is not known.
    """

    name: str
    change: float
    p_value: float | None
    size_bytes: int
    latency_ms: float


@dataclass(frozen=True)
class Budget:
    """Allowed loss of quality.

    Attributes:
        most: of quality; null for nothing that can be told from chance, `MORE` at most, and nothing
            at all where that is not known.
    """

    name: str
    most: float | None

    def allows(self, candidate: Candidate) -> bool:
        """Whether the candidate loses no more."""
        if self.most is not None:
            return candidate.change >= -self.most - ROUNDING
        # The fewer rows there are, the larger is a loss that may be chance.
        little = candidate.change >= -MORE - ROUNDING
        chance = candidate.p_value is not None and candidate.p_value >= SIGNIFICANT
        return (chance and little) or candidate.change >= 0


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


def budgets_of(metric: str) -> tuple[Budget, Budget, Budget]:
    """The budgets, named for the score that is to be kept; the strictest one first."""
    kind = SCORES[metric]
    return (
        Budget("no measurable loss", None),
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


def titles(found: Sequence[Winner]) -> dict[str, list[str]]:
    """Titles of each candidate: "smallest, balanced: no measurable loss"."""
    won: dict[str, dict[str, list[str]]] = {}
    for winner in found:
        kinds: dict[str, list[str]] = {}
        for kind, each in winner.kinds.items():
            kinds.setdefault(each.name, []).append(kind)
        for name, which in kinds.items():
            won.setdefault(name, {}).setdefault(", ".join(which), []).append(winner.budget.name)
    return {
        name: [f"{which}: {', '.join(budgets)}" for which, budgets in wins.items()]
        for name, wins in won.items()
    }


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
    found = record.comparison if split == "evaluation" else record.validation_comparison
    return Candidate(
        name=name,
        change=score_on(ours, split).quality - score_on(theirs, split).quality,
        p_value=None if found is None else found.p_value,
        size_bytes=ours.size_bytes,
        latency_ms=latency_ms,
    )


def score_on(metrics: ModelMetrics, split: Split) -> Score:
    """A model's score on the rows of the split."""
    if split == "evaluation":
        return metrics.score
    assert metrics.validation is not None, "records of before it was scored have none"
    return metrics.validation
