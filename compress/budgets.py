"""The best of several versions of a model, for what a user is ready to lose: pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compress.report.words import SIGNIFICANT

# Differences of shares are not exact: 0.86 - 0.85 is a little more than 0.01.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Candidate:
    """One version of a model.

    Attributes:
        change: of accuracy against the baseline, negative where it is lower.
        p_value: how likely a difference like it is by chance (McNemar).
        latency_ms: at the shape that counts.
    """

    name: str
    change: float
    p_value: float
    size_bytes: int
    latency_ms: float


@dataclass(frozen=True)
class Budget:
    """What may be lost.

    Attributes:
        most: of accuracy; null for nothing that can be told from chance.
    """

    name: str
    most: float | None

    def allows(self, candidate: Candidate) -> bool:
        """Whether the candidate loses no more."""
        if self.most is None:
            return candidate.p_value >= SIGNIFICANT or candidate.change >= 0
        return candidate.change >= -self.most - ROUNDING


@dataclass(frozen=True)
class Winner:
    """The best candidates within a budget; null if none is within it.

    Attributes:
        balanced: has the smallest product of size and latency: no other one is smaller by more than
            it is slower, or faster by more than it is larger.
    """

    budget: Budget
    fastest: Candidate | None
    smallest: Candidate | None
    balanced: Candidate | None


BUDGETS = (
    Budget("no measurable loss", None),
    Budget("at most 1 % of accuracy lost", 0.01),
    Budget("at most 3 % of accuracy lost", 0.03),
)


def winners(candidates: Sequence[Candidate], budgets: Sequence[Budget] = BUDGETS) -> list[Winner]:
    """The fastest and the smallest candidate within each budget.

    Of two that are equally fast the smaller one wins, of two equally small ones the faster one.
    """
    found = []
    for budget in budgets:
        within = [each for each in candidates if budget.allows(each)]
        fastest = min(within, key=lambda c: (c.latency_ms, c.size_bytes), default=None)
        smallest = min(within, key=lambda c: (c.size_bytes, c.latency_ms), default=None)
        balanced = min(within, key=lambda c: c.latency_ms * c.size_bytes, default=None)
        found.append(Winner(budget, fastest, smallest, balanced))
    return found
