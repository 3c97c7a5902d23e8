"""How good rankings are, query by query, as trec_eval has it: grades are gains, 0 is irrelevant.

Järvelin & Kekäläinen, "Cumulated gain-based evaluation of IR techniques", TOIS 20:4, 2002, with the
discount 1 / log2(1 + rank) of all ranks from the first on.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Int

# Grades of the documents that were found, best first; 0 of irrelevant ones and beyond the last.
Found: TypeAlias = Float[np.ndarray, "queries ranks"]
Values: TypeAlias = Float[np.ndarray, " queries"]


def ndcg(found: Found, graded: Float[np.ndarray, "queries judged"], depth: int) -> Values:
    """Discounted gain of the first `depth` ranks, as a share of the largest that is possible.

    Args:
        found: see `Found`.
        graded: the grades of all judged documents of each query, in any order; 0 for none.
        depth: ranks that count.
    """
    best = -np.sort(-graded, axis=1)
    ours, most = (_gain(each[:, :depth]) for each in (found, best))
    shares: Values = np.divide(ours, most, out=np.zeros_like(ours), where=most > 0)
    return shares


def reciprocal_rank(found: Found, depth: int) -> Values:
    """1 / rank of the first relevant document; 0 if there is none in the first `depth`."""
    relevant = found[:, :depth] > 0
    first = 1 / (1 + relevant.argmax(axis=1))
    values: Values = np.where(relevant.any(axis=1), first, 0.0)
    return values


def recall(found: Found, relevant: Int[np.ndarray, " queries"], depth: int) -> Values:
    """The share of the relevant documents that are in the first `depth`; 0 where there are none."""
    values: Values = (found[:, :depth] > 0).sum(axis=1) / np.maximum(relevant, 1)
    return values


def mean(sums: Float[np.ndarray, "... 2"]) -> Float[np.ndarray, ...]:
    """Of sums of values and of ones."""
    found: np.ndarray = sums[..., 0] / sums[..., 1]
    return found


def mean_parts(values: Values) -> Float[np.ndarray, "queries 2"]:
    """What each query adds to the sums that `mean` takes."""
    return np.stack([values, np.ones_like(values)], axis=1)


def _gain(grades: Float[np.ndarray, "queries ranks"]) -> Values:
    discounts = 1 / np.log2(np.arange(2, grades.shape[1] + 2))
    values: Values = np.maximum(grades, 0) @ discounts
    return values
