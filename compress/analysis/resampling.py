"""How sure a figure is that no formula covers: rows drawn again, or swapped between two models.

A statistic is given as a function of sums over rows. Rows that are drawn or swapped change nothing
but these sums, so thousands of draws are one product of matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

INTERVAL_DRAWS = 2_000
TEST_DRAWS = 10_000
SEED = 0  # a model's figures are the same however often they are taken
PIECE = 1 << 21  # numbers drawn at a time: 16 MB of them

# sums over rows of each draw [draws, sums] → the statistic of each draw [draws]
Statistic: TypeAlias = Callable[[np.ndarray], np.ndarray]


def bootstrap_interval(
    parts: Float[np.ndarray, "rows sums"], statistic: Statistic
) -> tuple[float, float]:
    """95 % percentile interval over rows (Efron & Tibshirani, "An Introduction to the Bootstrap").

    The parts are what each row adds to the sums.
    """
    low, high = np.quantile(_drawn_again(parts, statistic), [0.025, 0.975])
    return float(low), float(high)


def paired_standard_error(
    ours: Float[np.ndarray, "rows sums"],
    theirs: Float[np.ndarray, "rows sums"],
    statistic: Statistic,
) -> float:
    """Bootstrap standard error of the difference of a statistic between two models.

    Each draw has the same rows of both (Efron & Tibshirani, "An Introduction to the Bootstrap",
    chapter 8: the pair is the unit).
    """
    sums = ours.shape[1]

    def difference(both: np.ndarray) -> np.ndarray:
        return statistic(both[..., :sums]) - statistic(both[..., sums:])

    return float(_drawn_again(np.concatenate([ours, theirs], axis=1), difference).std(ddof=1))


def _drawn_again(parts: Float[np.ndarray, "rows sums"], statistic: Statistic) -> np.ndarray:
    """The statistic of as many rows, drawn with replacement, again and again."""
    generator = np.random.default_rng(SEED)
    rows = len(parts)
    values = [
        statistic(parts[generator.integers(rows, size=(draws, rows))].sum(axis=1))
        for draws in _pieces(INTERVAL_DRAWS, parts.size)
    ]
    return np.concatenate(values)


def permutation_p_value(
    ours: Float[np.ndarray, "rows sums"],
    theirs: Float[np.ndarray, "rows sums"],
    statistic: Statistic,
) -> float:
    """Two-sided paired permutation test: is a statistic of one model that of the other?

    Also called approximate randomization: Noreen, "Computer-Intensive Methods for Testing
    Hypotheses", 1989; Yeh, "More accurate tests for the statistical significance of result
    differences", arXiv:cs/0008005. In each draw, every row's outputs change owner or not at the
    toss of a coin. The p-value is at least 1 / (draws + 1); 1 for models that say the same.
    """
    generator = np.random.default_rng(SEED)
    middle, half = (ours + theirs).sum(axis=0) / 2, (ours - theirs) / 2
    observed = np.abs(np.diff(statistic(np.stack([ours.sum(axis=0), theirs.sum(axis=0)]))))[0]
    beyond = 0
    for draws in _pieces(TEST_DRAWS, len(half)):
        tosses = generator.integers(2, size=(draws, len(half)), dtype=np.int8)
        shift = (2.0 * tosses - 1) @ half
        differences = np.abs(statistic(middle + shift) - statistic(middle - shift))
        # Sums in another order differ in their last bits.
        beyond += int((differences >= observed - 1e-12).sum())
    return (beyond + 1) / (TEST_DRAWS + 1)


def _pieces(draws: int, width: int) -> Iterator[int]:
    """Counts that add up to `draws`, each of as many as fit into memory."""
    most = max(1, PIECE // width)
    for start in range(0, draws, most):
        yield min(most, draws - start)
