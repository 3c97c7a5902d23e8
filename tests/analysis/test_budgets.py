from __future__ import annotations

from dataclasses import replace

import pytest

from compress.analysis.budgets import Budget, Candidate, budgets_of, candidate, titles, winners
from compress.records.schema import Comparison
from tests.records.test_schema import evaluated_by
from tests.search.records import record_of

FLOAT = Candidate("float", 0.0, 1.0, 90, 10.0)
INT8 = Candidate("int8", -0.002, 0.4, 60, 4.0)
STATIC = Candidate("static", -0.01, 0.03, 23, 2.0)
INT4 = Candidate("int4", -0.025, 0.001, 13, 12.0)
BROKEN = Candidate("broken", -0.4, 0.0, 5, 1.0)
BUDGETS = budgets_of("accuracy")
ALL = (FLOAT, INT8, STATIC, INT4, BROKEN)


def test_the_fastest_and_the_smallest_of_each_budget() -> None:
    found = [(w.kinds["fastest"], w.kinds["smallest"]) for w in winners(ALL, BUDGETS)]
    assert found == [(INT8, INT8), (STATIC, STATIC), (STATIC, INT4)]


@pytest.mark.parametrize(
    ("change", "p_value", "allowed"),
    [
        (-0.001, None, [False, True, True]),  # chance or not is not known
        (0.0, None, [True, True, True]),
        (0.02, 0.001, [True, True, True]),  # a gain, however sure
        (-0.001, 0.05, [True, True, True]),
        (-0.001, 0.049, [False, True, True]),
        (0.85 - 0.86, 0.001, [False, True, True]),  # -0.010000000000000009
        (-0.0101, 0.001, [False, False, True]),
        (-0.03, 0.5, [True, False, True]),
        (-0.031, 0.5, [False, False, False]),  # of too few rows to tell
    ],
)
def test_the_edges_of_the_budgets(
    change: float, p_value: float | None, allowed: list[bool]
) -> None:
    candidate = Candidate("x", change, p_value, 1, 1.0)
    assert [budget.allows(candidate) for budget in BUDGETS] == allowed


def test_equal_speed_goes_to_the_smaller_and_equal_size_to_the_faster() -> None:
    first, other, third = (
        Candidate(name, 0.0, 1.0, size, ms) for name, size, ms in
        (("a", 20, 2.0), ("b", 10, 2.0), ("c", 10, 3.0))
    )  # fmt: skip
    winner = winners([first, third, other], [Budget("any", 1.0)])[0]
    assert (winner.kinds["fastest"], winner.kinds["smallest"]) == (other, other)


def test_nothing_within_a_budget_is_said_so() -> None:
    assert winners([BROKEN], BUDGETS)[0].kinds == {}
    assert winners([], BUDGETS)[2].kinds == {}


def test_titles_name_each_winner_once_with_all_that_it_won() -> None:
    assert titles(winners(ALL, BUDGETS)) == {
        "int8": ["smallest, fastest, balanced: no measurable loss"],
        "static": [
            "smallest, fastest, balanced: at most 1 % of accuracy lost",
            "fastest, balanced: at most 3 % of accuracy lost",
        ],
        "int4": ["smallest: at most 3 % of accuracy lost"],
    }
    assert titles(winners([BROKEN], BUDGETS)) == {}
    assert titles(winners([FLOAT], BUDGETS)) == {
        "float": [f"smallest, fastest, balanced: {', '.join(each.name for each in BUDGETS)}"]
    }


def test_a_run_is_evaluated_on_the_rows_that_are_named() -> None:
    record = replace(
        record_of(accuracy=0.85, validation=0.7, size=60),
        comparison=Comparison(0.9, 5, 10, 0.3),
        validation_comparison=Comparison(0.9, 20, 10, 0.01),
    )
    change = pytest.approx(0.05), pytest.approx(-0.1)  # the baseline has 0.8 on both
    by_test = candidate("a", record, "evaluation", 2.0)
    assert by_test == Candidate("a", change[0], 0.3, 60, 2.0)
    assert candidate("a", record, "validation", 2.0) == Candidate("a", change[1], 0.01, 60, 2.0)
    before = replace(record, validation_comparison=None)
    assert candidate("a", before, "validation", 2.0).p_value is None


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
    assert [budget.allows(one) for budget in budgets_of(metric)[1:]] == allowed


def test_titles_name_the_score() -> None:
    record = evaluated_by("perplexity", 20.4, 20.0, comparison=Comparison(0.9, None, None, 0.001))
    one = candidate("x", record, "evaluation", 1.0)
    assert titles(winners([one], budgets_of("perplexity"))) == {
        "x": ["smallest, fastest, balanced: perplexity at most 3 % higher"]
    }
