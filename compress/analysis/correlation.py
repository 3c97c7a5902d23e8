"""Correlations of what a model says with what is right, and how sure they are."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

Z_95 = 1.959963984540054  # two-sided 95 % quantile of the normal distribution
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
