"""Correlations of what a model says with what is right, and how sure they are."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

Z_95 = 1.959963984540054  # two-sided 95 % quantile of the normal distribution
SEED = 0
DRAWS = 500  # of rows: a standard error is within 3 % of that of endless draws
PIECE = 1 << 20  # numbers that are ranked at a time
Values = Float[np.ndarray, " rows"]


def ranks(values: Values) -> Values:
    """Places in ascending order, from 1; equal values share the mean of theirs."""
    # Imported here: it takes long, and config errors should not.
    from scipy import stats

    found: Values = stats.rankdata(values)
    return found


def correlation(ours: Values, right: Values) -> float:
    """Pearson's correlation; 0 where it is undefined, because one side is the same throughout.

    Of ranks it is Spearman's.
    """
    if np.ptp(ours) == 0 or np.ptp(right) == 0:
        return 0.0
    parts = correlation_parts(ours, right)
    return float(correlation_of_sums(parts.sum(axis=0)[None], right)[0])


def correlation_parts(ours: Values, right: Values) -> Float[np.ndarray, "rows 3"]:
    """What each row adds to the sums that `correlation_of_sums` takes."""
    x, y = ours - ours.mean(), right - right.mean()
    return np.stack([x * y, x**2, x], axis=1)


def correlation_of_sums(
    sums: Float[np.ndarray, "draws 3"], right: Values
) -> Float[np.ndarray, " draws"]:
    """Pearson's correlation with `right`, whose own sums no draw changes; 0 where undefined."""
    squares = sums[:, 1] - sums[:, 2] ** 2 / len(right)
    spread = np.sqrt(np.maximum(squares, 0.0) * ((right - right.mean()) ** 2).sum())
    found = np.zeros(len(sums))
    np.divide(sums[:, 0], spread, out=found, where=spread > 0)
    return found


def spearman_interval(value: float, rows: int) -> tuple[float, float]:
    """95 % interval of Spearman's correlation in [-1, 1], by Fisher's z.

    Its variance is (1 + r²/2) / (n - 3): Bonett & Wright, "Sample size requirements for estimating
    Pearson, Kendall and Spearman correlations", Psychometrika 65:23, 2000. Of three rows or fewer
    nothing is known.
    """
    if rows <= 3:
        return -1.0, 1.0
    if abs(value) == 1:
        return value, value
    spread = Z_95 * math.sqrt((1 + value**2 / 2) / (rows - 3))
    return math.tanh(math.atanh(value) - spread), math.tanh(math.atanh(value) + spread)


def spearman_standard_error(ours: Values, theirs: Values, right: Values) -> float:
    """Bootstrap standard error of the difference of two models' correlations on the same rows.

    Ranks are given anew in each draw (Efron & Tibshirani, "An Introduction to the Bootstrap",
    chapter 8: a row with both outputs is the unit).
    """
    generator = np.random.default_rng(SEED)
    rows = len(right)
    at_once = max(1, PIECE // rows)
    differences: list[np.ndarray] = []
    for start in range(0, DRAWS, at_once):
        drawn = generator.integers(rows, size=(min(at_once, DRAWS - start), rows))
        target = _standard_ranks(right[drawn])
        ours_at, theirs_at = ((_standard_ranks(each[drawn]) * target).sum(axis=1)
                              for each in (ours, theirs))  # fmt: skip
        differences.append(ours_at - theirs_at)
    return float(np.concatenate(differences).std(ddof=1))


def _standard_ranks(values: Float[np.ndarray, "draws rows"]) -> Float[np.ndarray, "draws rows"]:
    """Ranks in each draw with mean 0 and length 1; zeros where all values are the same."""
    from scipy import stats

    found = stats.rankdata(values, axis=1)
    found = found - found.mean(axis=1, keepdims=True)
    length = np.linalg.norm(found, axis=1, keepdims=True)
    standard: np.ndarray = np.divide(found, length, out=np.zeros_like(found), where=length > 0)
    return standard
