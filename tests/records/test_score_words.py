from __future__ import annotations

import math

import pytest

from compress.records.schema import Score
from compress.records.score_words import (
    at_most_words,
    axis_words,
    difference_words,
    is_logarithmic,
    most_words,
    score_words,
    value_words,
    wanted_words,
)
from compress.records.scores import SCORES


@pytest.mark.parametrize(
    ("metric", "value", "digits", "words"),
    [
        ("accuracy", 0.84567, 4, "0.8457"),
        ("spearman", -0.5, 3, "-0.500"),
        ("perplexity", 23.4567, 4, "23.457"),
        ("perplexity", 23.4567, 3, "23.46"),
        ("perplexity", 999.999, 3, "1000.00"),
        ("perplexity", 12_345.6, 3, "12,346"),
        ("perplexity", 1.234e9, 3, "1.23e+09"),
    ],
)
def test_values_have_the_digits_that_matter(
    metric: str, value: float, digits: int, words: str
) -> None:
    assert value_words(SCORES[metric], value, digits) == words


def test_a_score_with_its_interval() -> None:
    accuracy = Score("accuracy", 0.846, 0.8214, 0.8694, 853, 32, "test")
    assert score_words(accuracy) == "0.8460 (0.821 to 0.869)"
    assert score_words(accuracy, 3, to="--") == "0.846 (0.821--0.869)"
    perplexity = Score("perplexity", 23.4567, 22.9, 24.0, 64, 32, "test")
    assert score_words(perplexity) == "23.457 (22.90 to 24.00)"


@pytest.mark.parametrize(
    ("metric", "change", "words"),
    [
        ("accuracy", -0.034, "-0.0340"),
        ("accuracy", 0.0, "+0.0000"),
        ("spearman", 0.0123, "+0.0123"),
        ("perplexity", -math.log(1.041), "+4.1 %"),
        ("perplexity", math.log(2), "-50.0 %"),
        ("perplexity", 0.0, "+0.0 %"),
        ("perplexity", -math.log(12.34), "× 12.3"),
        ("perplexity", -math.log(12_345), "× 12,345.0"),
        ("perplexity", -math.log(1.5e7), "× 1.50e+07"),
    ],
)
def test_a_change_of_quality_in_the_unit_of_the_value(
    metric: str, change: float, words: str
) -> None:
    assert difference_words(SCORES[metric], change) == words


@pytest.mark.parametrize(
    ("metric", "within"),
    [
        ("accuracy", "at most 1 % of accuracy lost"),
        ("f1_micro", "at most 1 % of micro F1 lost"),
        ("spearman", "at most 0.01 of Spearman correlation lost"),
        ("perplexity", "perplexity at most 1 % higher"),
    ],
)
def test_budgets_in_words(metric: str, within: str) -> None:
    assert at_most_words(SCORES[metric], 0.01) == within


@pytest.mark.parametrize(
    ("metric", "axis", "wanted", "most"),
    [
        ("accuracy", "accuracy on rows", "accurate", "most accurate"),
        ("f1_micro", "micro F1 on rows", "high in micro F1", "highest in micro F1"),
        ("perplexity", "perplexity (lower is better)", "low in perplexity", "lowest in perplexity"),
    ],
)
def test_the_better_end_of_a_scale(metric: str, axis: str, wanted: str, most: str) -> None:
    kind = SCORES[metric]
    assert (axis_words(kind, "on rows"), wanted_words(kind), most_words(kind)) == (
        axis, wanted, most,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "values", "expected"),
    [
        ("perplexity", [20.0, 199.0], False),
        ("perplexity", [20.0, 201.0], True),
        ("perplexity", [], False),
        ("accuracy", [0.01, 0.9], False),
    ],
)
def test_only_what_spans_a_decade_needs_a_logarithmic_scale(
    metric: str, values: list[float], expected: bool
) -> None:
    assert is_logarithmic(SCORES[metric], values) == expected


@pytest.mark.parametrize("metric", sorted(SCORES))
def test_what_is_moved_has_that_quality(metric: str) -> None:
    kind = SCORES[metric]
    for value, change in ((0.5, 0.25), (0.5, -0.25)):
        moved = kind.moved(value, change)
        assert kind.quality(moved) == pytest.approx(kind.quality(value) + change)
        assert (moved > value) == ((change > 0) == (kind.better == "higher"))
