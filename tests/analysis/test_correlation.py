from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from compress.analysis.correlation import (
    correlation,
    ranks,
    spearman_interval,
    spearman_standard_error,
)


def test_equal_values_share_their_ranks() -> None:
    assert ranks(np.array([3.0, 1, 3, 2])).tolist() == [3.5, 1, 3.5, 2]


@pytest.mark.parametrize(
    ("ours", "right", "found"),
    [
        # Deviations -2 0 2 and -1 2 -1: products 2, 0, -2.
        ((1, 3, 5), (1, 4, 1), 0.0),
        # Deviations -1.5 -0.5 0.5 1.5 and -1.5 0.5 -0.5 1.5: 4 / 5.
        ((1, 2, 3, 4), (1, 3, 2, 4), 0.8),
        ((1, 2, 3), (6, 4, 2), -1.0),
        # Undefined: nothing correlates with a constant.
        ((2, 2, 2), (1, 2, 3), 0.0),
        ((1, 2, 3), (2, 2, 2), 0.0),
        ((1,), (1,), 0.0),
    ],
)
def test_correlation_by_hand(
    ours: tuple[float, ...], right: tuple[float, ...], found: float
) -> None:
    assert correlation(np.array(ours, float), np.array(right, float)) == pytest.approx(found)


def test_correlations_are_scipys() -> None:
    drawn = np.random.default_rng(0).normal(size=(2, 200)).round(1) + 1e4
    found = correlation(drawn[0], drawn[1]), correlation(ranks(drawn[0]), ranks(drawn[1]))
    expected = [of(*drawn).statistic for of in (scipy.stats.pearsonr, scipy.stats.spearmanr)]
    assert found == pytest.approx(tuple(expected))


def test_the_interval_by_hand() -> None:
    """z(0.8) = ln 3; √(1.32 / 27) = 0.22111, times 1.95996 is 0.43337."""
    low, high = spearman_interval(0.8, 30)
    z = math.log(3)
    assert (low, high) == pytest.approx((math.tanh(z - 0.43337), math.tanh(z + 0.43337)), abs=1e-5)


@pytest.mark.parametrize(
    ("value", "rows", "expected"),
    [(0.5, 3, (-1.0, 1.0)), (1.0, 10, (1.0, 1.0)), (-1.0, 10, (-1.0, -1.0))],
)
def test_the_ends_of_the_interval(value: float, rows: int, expected: tuple[float, float]) -> None:
    assert spearman_interval(value, rows) == expected


def test_the_interval_holds_what_is_true_19_times_of_20() -> None:
    """For normal values with a correlation of 0.6, Spearman's is 6 / π · asin(0.3)."""
    true, generator = 6 / math.pi * math.asin(0.3), np.random.default_rng(0)
    first, second = generator.normal(size=(2, 1000, 50))
    second = 0.6 * first + 0.8 * second
    held = 0
    for ours, right in zip(first, second, strict=True):
        low, high = spearman_interval(correlation(ranks(ours), ranks(right)), 50)
        held += low <= true <= high
    assert held / 1000 == pytest.approx(0.95, abs=0.02)


def rows_of_two_models(
    generator: np.random.Generator, rows: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    right = generator.normal(size=rows)
    shared = right + 0.5 * generator.normal(size=rows)
    ours, theirs = (shared + noise * generator.normal(size=rows) for noise in (0.6, 0.2))
    return ours, theirs, right


def test_the_standard_error_of_a_difference_is_the_spread_over_many_splits() -> None:
    generator = np.random.default_rng(0)
    differences = []
    for _ in range(600):
        ours, theirs, right = rows_of_two_models(generator, 150)
        pair = (scipy.stats.spearmanr(each, right).statistic for each in (ours, theirs))
        differences.append(next(pair) - next(pair))
    found = [
        spearman_standard_error(*rows_of_two_models(np.random.default_rng(seed), 150))
        for seed in range(1, 21)
    ]
    assert np.mean(found) == pytest.approx(np.std(differences), rel=0.12)


def test_equal_and_constant_models_have_none() -> None:
    ours, _, right = rows_of_two_models(np.random.default_rng(0), 50)
    assert spearman_standard_error(ours, ours, right) == 0
    assert spearman_standard_error(np.zeros(50), np.ones(50), right) == 0
