from __future__ import annotations

import pytest

from compress.analysis.decision import Candidate, Decision, Place, Rule, decide, is_tied
from compress.analysis.noninferiority import Change
from compress.config.errors import ConfigError

ROWS = 5000


def candidate(name: str, size: float = 500, ms: float = 5.0, regressed: int = 20,
              improved: int = 20, rows: int = ROWS, **changes: object) -> Candidate:  # fmt: skip
    """Of a teacher with 1000 bytes and 10 ms; within a point unless it regresses."""
    change = Change((improved - regressed) / rows, rows, regressed, improved)
    values = {
        "changes": (change,),
        "quality": 0.9 + change.value,
        "smaller": 1000 / size,
        "faster": 10 / ms,
    }
    return Candidate(name=name, size_bytes=size, latency_ms=ms, **{**values, **changes})  # type: ignore[arg-type]


def decided(*candidates: Candidate, floor: float = 1.03) -> Decision:
    return decide(candidates, Rule(), floor)


def shipped(*candidates: Candidate) -> str | None:
    found = decided(*candidates).ship
    return None if found is None else found.name


WORSE = {"regressed": 400, "improved": 20}
UNSURE = {"regressed": 5, "improved": 5, "rows": 400}


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({}, "admitted"),
        ({"regressed": 0, "improved": 0}, "admitted"),
        (WORSE, "excluded"),
        (UNSURE, "undecided"),
        ({"regressed": 4, "improved": 0, "rows": 853}, "undecided"),  # -0.5 points, by luck or not
        ({"regressed": 60, "improved": 10}, "undecided"),  # exactly the margin
    ],
)
def test_a_candidate_is_admitted_by_a_test_and_not_by_a_point_estimate(
    changes: dict[str, int], place: Place
) -> None:
    assert decided(candidate("a", **changes)).standings["a"].place == place  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("candidates", "ship"),
    [
        ((candidate("a"), candidate("b", size=400)), "b"),
        ((candidate("a"), candidate("b", size=100, **WORSE)), "a"),
        ((candidate("a"), candidate("b", size=100, **UNSURE)), "a"),
        ((candidate("a"), candidate("b", size=100, barred="misses")), "a"),
        # twice as slow as the teacher, and an eighth of its bytes
        ((candidate("a"), candidate("b", size=100, ms=20.0)), "a"),
        ((candidate("a", size=1000, ms=9.8),), None),  # a gain of chance
        ((candidate("a", size=100, **WORSE),), None),
        ((), None),
    ],
)
def test_the_smallest_product_of_those_that_may_be_shipped(
    candidates: tuple[Candidate, ...], ship: str | None
) -> None:
    assert shipped(*candidates) == ship


@pytest.mark.parametrize(
    ("other", "tied"),
    [
        (candidate("b", size=505), True),
        (candidate("b", size=506), False),
        (candidate("b", ms=5.14), True),
        (candidate("b", ms=4.86), True),
        (candidate("b", ms=5.16), False),
        (candidate("b", size=504, ms=5.1), True),
    ],
)
def test_ties_are_within_a_hundredth_of_the_bytes_and_the_noise_floor_of_time(
    other: Candidate, tied: bool
) -> None:
    assert is_tied(candidate("a"), other, 1.03) == is_tied(other, candidate("a"), 1.03) == tied


def test_of_the_tied_the_best_quality_wins_then_the_fewest_stages() -> None:
    lean, better = candidate("lean"), candidate("better", size=503, improved=22)
    assert shipped(lean, better) == "better"
    twin = candidate("twin", ms=4.99, stages=2)
    found = decided(twin, lean)
    assert found.ship == lean
    assert set(found.tied) == {twin, lean}


def test_the_hopeful_one_is_the_cheapest_that_may_be_within_the_margin() -> None:
    safe = candidate("safe")
    small = candidate("small", size=100, **UNSURE)
    smaller = candidate("smaller", size=50, regressed=9, improved=4, rows=400)
    assert decided(safe, small, smaller).hopeful == small, "the smaller one lost 1.25 points"
    assert decided(safe, smaller).hopeful == smaller
    assert decided(small).hopeful == small
    assert decided(safe, candidate("large", size=900, **UNSURE)).hopeful is None
    assert decided(safe, candidate("bad", size=100, **WORSE)).hopeful is None


def test_what_costs_less_and_is_out_is_listed_cheapest_first() -> None:
    found = decided(
        candidate("safe"),
        candidate("bad", size=100, **WORSE),
        candidate("unsure", size=200, **UNSURE),
        candidate("barred", size=50, barred="misses"),
        candidate("large", size=900, **WORSE),
    )
    assert [each.candidate.name for each in found.cheaper()] == ["barred", "bad", "unsure"]


def test_a_recipe_that_only_one_seed_favors_is_not_admitted() -> None:
    seeds = [Change(value, ROWS, 50 - int(value * 2500), 50 + int(value * 2500)) for value in
             (0.01, -0.012, -0.011)]  # fmt: skip
    lucky = candidate("lucky", size=100, changes=tuple(seeds))
    assert decided(candidate("a"), lucky).ship == candidate("a")
    assert decided(candidate("a"), candidate("one", size=100, changes=(seeds[0],))).ship is not None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"margin": 0.0}, "Rule.margin must be > 0, got 0.0"),
        ({"margin": -0.01}, "Rule.margin must be > 0, got -0.01"),
        ({"alpha": 0.0}, "Rule.alpha must be"),
        ({"alpha": 0.6}, "Rule.alpha must be"),
    ],
)
def test_margins_and_levels_that_are_none(values: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Rule(**values)
