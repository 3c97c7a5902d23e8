"""The rule by which one of several compressed models is shipped; docs/decision.md states it. Pure.

1. A model is admitted if its quality is shown not to be worse than its teacher's by the margin or
   more: a one-sided test of non-inferiority on the rows that choose, never a point estimate.
2. Of those admitted, the one with the smallest product of bytes and time leads: no other one is
   smaller by more than it is slower, or faster by more than it is larger.
3. Those within 1 % of its bytes and within the noise floor of its time are tied with it. Of these,
   and of models that are still there before deleted ones, the best quality wins, then the fewest
   stages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias, final

import pydantic

from compress.analysis.noninferiority import Change, Evidence, evidence
from compress.config.errors import ConfigError
from compress.config.fields import Positive
from compress.config.settings import Settings
from compress.records.words import SAME_BYTES

Place: TypeAlias = Literal["admitted", "undecided", "excluded"]

# A gain below it is no reason to ship another model: a model timed against itself is up to 3 %
# faster by chance (docs/noise.md).
WORTH = 1.05


@final
@pydantic.dataclasses.dataclass(frozen=True, kw_only=True)
class Rule(Settings):
    """How much quality may be lost, and how sure that must be.

    Attributes:
        margin: the loss that is too much: 0.01 is a point of accuracy, or about 1 % of perplexity.
        alpha: how often a model that loses the margin may pass.
    """

    margin: Positive = 0.01
    alpha: Annotated[float, pydantic.Field(gt=0, le=0.5)] = 0.05


def rule_of_options(margin: float, alpha: float) -> Rule:
    """The rule of the options --margin and --alpha.

    Raises:
        ConfigError: one is out of range; names the option.
    """
    try:
        return Rule(margin=margin, alpha=alpha)
    except ConfigError as error:
        raise ConfigError(str(error).replace("Rule.", "--")) from error


@dataclass(frozen=True)
class Candidate:
    """A recipe: one version of a model, made with one or several seeds.

    Attributes:
        changes: of quality against the teacher of the same seed, one a seed.
        quality: mean over the seeds, on the rows that choose.
        size_bytes: mean over the seeds.
        latency_ms: one that compares between candidates.
        smaller: the teacher's bytes over the model's.
        faster: its speed-up; 1 where none was measured that counts.
        stages: how many of student, pruner and quantizer do something.
        kept: whether its model is still there.
        barred: why it is not to be shipped whatever its figures; null if nothing is against it.
    """

    name: str
    changes: tuple[Change, ...]
    quality: float
    size_bytes: float
    latency_ms: float
    smaller: float
    faster: float
    stages: int = 1
    kept: bool = True
    barred: str | None = None

    @property
    def gains(self) -> bool:
        """Whether it is clearly smaller or faster than its teacher, and not the contrary of one."""
        least, most = sorted((self.smaller, self.faster))
        return least * WORTH > 1 and most > WORTH

    @property
    def cost(self) -> float:
        """The product of bytes and time."""
        return self.size_bytes * self.latency_ms


@dataclass(frozen=True)
class Standing:
    """A candidate before the rule: what its rows say, and what follows."""

    candidate: Candidate
    evidence: Evidence
    place: Place


@dataclass(frozen=True)
class Decision:
    """What the rule says of some candidates.

    Attributes:
        floor: the noise floor of time, a ratio >= 1.
        standings: by the candidate's name, in the order given.
        ship: the one to ship; null if the teacher is to be kept.
        tied: those that are as small and as fast as it, itself included.
        hopeful: one with lower costs that the rows are too few to admit; null if there is none.
    """

    rule: Rule
    floor: float
    standings: Mapping[str, Standing]
    ship: Candidate | None
    tied: tuple[Candidate, ...]
    hopeful: Candidate | None

    def within(self) -> list[Candidate]:
        """The candidates that may be shipped."""
        return [each.candidate for each in self.standings.values() if _may_ship(each, "admitted")]

    def cheaper(self) -> list[Standing]:
        """Those that may not be shipped with lower costs than what is, cheapest first.

        Where nothing is shipped, all that are smaller or faster than the teacher.
        """
        found = [
            each
            for each in self.standings.values()
            if each.candidate.gains
            and (each.place != "admitted" or each.candidate.barred)
            and _is_cheaper(each.candidate, self.ship, self.floor)
        ]
        return sorted(found, key=lambda each: each.candidate.cost)


def decide(candidates: Sequence[Candidate], rule: Rule, floor: float) -> Decision:
    """Applies the rule.

    Args:
        candidates: of unequal names.
        rule: margin and level.
        floor: what a model timed against itself reaches, a ratio >= 1.
    """
    standings = {each.name: standing(each, rule) for each in candidates}
    within = [each.candidate for each in standings.values() if _may_ship(each, "admitted")]
    tied: tuple[Candidate, ...] = ()
    ship = None
    if within:
        leader = min(within, key=lambda each: each.cost)
        tied = tuple(each for each in within if is_tied(each, leader, floor))
        ship = _best(tied)
    undecided = [each for each in standings.values() if _may_ship(each, "undecided")]
    hopeful = _hopeful(undecided, rule, ship, floor)
    return Decision(rule, floor, standings, ship, tied, hopeful)


def standing(candidate: Candidate, rule: Rule) -> Standing:
    """Whether the rows show the loss to be within the margin, beyond it, or neither."""
    found = evidence(candidate.changes, rule.margin, rule.alpha)
    return Standing(candidate, found, placed(found, rule))


def placed(found: Evidence, rule: Rule) -> Place:
    """What evidence shows at the level of a rule."""
    if found.p_within < rule.alpha:
        return "admitted"
    return "excluded" if found.p_beyond < rule.alpha else "undecided"


def is_tied(one: Candidate, other: Candidate, floor: float) -> bool:
    """Whether neither the bytes nor the times of two candidates tell them apart."""
    sizes = sorted((one.size_bytes, other.size_bytes))
    apart = abs(math.log(one.latency_ms / other.latency_ms))
    return sizes[1] <= sizes[0] * (1 + SAME_BYTES) and apart <= math.log(floor)


def _may_ship(found: Standing, place: Place) -> bool:
    return found.place == place and found.candidate.gains and found.candidate.barred is None


def _is_cheaper(one: Candidate, ship: Candidate | None, floor: float) -> bool:
    return ship is None or (one.cost < ship.cost and not is_tied(one, ship, floor))


def _hopeful(
    undecided: Sequence[Standing], rule: Rule, ship: Candidate | None, floor: float
) -> Candidate | None:
    """The cheapest of those that lose less than the margin by their rows; else the nearest."""
    found = [each for each in undecided if _is_cheaper(each.candidate, ship, floor)]
    if not found:
        return None
    near = [each for each in found if each.evidence.change > -rule.margin]
    if not near:
        return max(found, key=lambda each: each.evidence.change).candidate
    cheapest = min((each.candidate for each in near), key=lambda each: each.cost)
    tied = [each.candidate for each in near if is_tied(each.candidate, cheapest, floor)]
    return _best(tied)


def _best(tied: Sequence[Candidate]) -> Candidate:
    return max(tied, key=lambda each: (each.kept, each.quality, -each.stages))
