from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from compress.analysis.resampling import (
    bootstrap_interval,
    paired_standard_error,
    permutation_p_value,
)


def mean_of(rows: int):  # type: ignore[no-untyped-def]
    return lambda sums: sums[:, 0] / rows


DRAWN = np.random.default_rng(1).normal(size=(60, 1))


def test_the_interval_of_a_mean_is_scipys() -> None:
    low, high = bootstrap_interval(DRAWN, mean_of(60))
    expected = scipy.stats.bootstrap((DRAWN[:, 0],), np.mean, method="percentile", rng=0)
    found = expected.confidence_interval
    assert (low, high) == pytest.approx((found.low, found.high), abs=0.02)
    assert (low, high) == bootstrap_interval(DRAWN, mean_of(60))


def test_the_interval_of_a_constant_is_a_point() -> None:
    assert bootstrap_interval(np.full((7, 1), 3.0), mean_of(7)) == (3.0, 3.0)


@pytest.mark.parametrize("shift", [0.0, 0.2, 0.35])
def test_the_p_value_of_a_mean_is_scipys(shift: float) -> None:
    other = DRAWN + shift + np.random.default_rng(2).normal(size=(60, 1))
    expected = scipy.stats.permutation_test(
        (DRAWN[:, 0], other[:, 0]),
        lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=9_999,
        rng=0,
    ).pvalue
    found = permutation_p_value(DRAWN, other, mean_of(60))
    assert found == pytest.approx(expected, abs=0.015)
    assert found == permutation_p_value(DRAWN, other, mean_of(60))


def test_few_rows_by_hand() -> None:
    """Of the 8 ways to swap 3 rows, 2 give a difference as large: all as they are, all swapped."""
    ours, theirs = np.array([[1.0], [2.0], [4.0]]), np.zeros((3, 1))
    assert permutation_p_value(ours, theirs, mean_of(3)) == pytest.approx(2 / 8, abs=0.01)


def test_a_model_is_no_better_than_itself_and_a_better_one_is() -> None:
    assert permutation_p_value(DRAWN, DRAWN, mean_of(60)) == 1.0
    assert permutation_p_value(DRAWN, DRAWN + 1, mean_of(60)) == 1 / 10_001


def test_the_standard_error_of_a_paired_mean_is_that_of_the_differences() -> None:
    noise = np.random.default_rng(3).normal(size=(60, 1))
    shared = 5 * np.random.default_rng(4).normal(size=(60, 1))
    expected = float((DRAWN - noise).std(ddof=1)) / np.sqrt(60)
    found = paired_standard_error(DRAWN + shared, noise + shared, mean_of(60))
    assert found == pytest.approx(expected, rel=0.05)
    assert paired_standard_error(DRAWN, DRAWN, mean_of(60)) == 0
