from __future__ import annotations

import pytest

from compress.analysis.budgets import Budget, Candidate, budgets_of, candidate, winners
from tests.records.test_schema import evaluated_by
from tests.search.records import record_of

FLOAT = Candidate("float", 0.0, 90, 10.0)
INT8 = Candidate("int8", -0.002, 60, 4.0)
STATIC = Candidate("static", -0.01, 23, 2.0)
INT4 = Candidate("int4", -0.025, 13, 12.0)
BROKEN = Candidate("broken", -0.4, 5, 1.0)
BUDGETS = budgets_of("accuracy")
ALL = (FLOAT, INT8, STATIC, INT4, BROKEN)


def test_the_fastest_and_the_smallest_of_each_budget() -> None:
    found = [(w.kinds["fastest"], w.kinds["smallest"]) for w in winners(ALL, BUDGETS)]
    assert found == [(STATIC, STATIC), (STATIC, INT4)]


@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        (0.02, [True, True]),
        (0.0, [True, True]),
        (0.85 - 0.86, [True, True]),  # -0.010000000000000009
        (-0.0101, [False, True]),
        (-0.03, [False, True]),
        (-0.031, [False, False]),
    ],
)
def test_the_edges_of_the_budgets(change: float, allowed: list[bool]) -> None:
    candidate = Candidate("x", change, 1, 1.0)
    assert [budget.allows(candidate) for budget in BUDGETS] == allowed


def test_equal_speed_goes_to_the_smaller_and_equal_size_to_the_faster() -> None:
    first, other, third = (
        Candidate(name, 0.0, size, ms) for name, size, ms in
        (("a", 20, 2.0), ("b", 10, 2.0), ("c", 10, 3.0))
    )  # fmt: skip
    winner = winners([first, third, other], [Budget("any", 1.0)])[0]
    assert (winner.kinds["fastest"], winner.kinds["smallest"]) == (other, other)


def test_nothing_within_a_budget_is_said_so() -> None:
    assert winners([BROKEN], BUDGETS)[0].kinds == {}
    assert winners([], BUDGETS)[1].kinds == {}


def test_a_run_is_evaluated_on_the_rows_that_are_named() -> None:
    record = record_of(accuracy=0.85, validation=0.7, size=60)
    change = pytest.approx(0.05), pytest.approx(-0.1)  # the baseline has 0.8 on both
    assert candidate("a", record, "evaluation", 2.0) == Candidate("a", change[0], 60, 2.0)
    assert candidate("a", record, "validation", 2.0) == Candidate("a", change[1], 60, 2.0)


@pytest.mark.parametrize(
    ("metric", "worse", "allowed"),
    [
        ("spearman", 0.891, [True, True]),  # the baseline has 0.9
        ("spearman", 0.88, [False, True]),
        ("spearman", 0.86, [False, False]),
        ("perplexity", 0.5, [True, True]),  # lower is better
        ("perplexity", 0.9 * 1.009, [True, True]),
        ("perplexity", 0.9 * 1.02, [False, True]),
        ("perplexity", 0.9 * 1.04, [False, False]),
    ],
)
def test_what_may_be_lost_of_other_scores(metric: str, worse: float, allowed: list[bool]) -> None:
    one = candidate("x", evaluated_by(metric, worse, 0.9), "evaluation", 1.0)
    assert [budget.allows(one) for budget in budgets_of(metric)] == allowed
