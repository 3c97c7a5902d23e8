"""Strata for stratified splits, for labels of any kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd
from jaxtyping import Int

QUANTILES = 10  # of numbers: tenths

Groups: TypeAlias = Int[np.ndarray, " rows"]


def strata(labels: pd.Series, least: int) -> Groups:
    """The stratum of each row, from 0.

    Classes are groups as they are, however small. Numbers are grouped by size, into ten parts as
    large as each other, or into fewer; of equal numbers, those that come first count as smaller.
    Rows of several labels are grouped by which of them they have. Where these are fewer than
    `least`, by the label that fewest rows of all have; what is fewer even then is one group, and
    part of the largest one if it alone is too small.

    Args:
        labels: class indices, numbers with a fraction, or tuples of 0 and 1.
        least: rows of a group; not of classes.
    """
    if pd.api.types.is_integer_dtype(labels):
        return labels.to_numpy()
    if pd.api.types.is_float_dtype(labels):
        groups = max(1, min(QUANTILES, len(labels) // least))
        places = labels.rank(method="first").to_numpy().astype(int) - 1
        return places * groups // len(labels)
    return _by_labels(labels.tolist(), least)


def _by_labels(rows: Sequence[tuple[int, ...]], least: int) -> Groups:
    held = np.array(rows).sum(axis=0)
    keys: list[Hashable] = list(rows)
    for coarser in ([_rarest(row, held) for row in rows], [None] * len(rows)):
        counts = Counter(keys)
        keys = [
            key if counts[key] >= least else other for key, other in zip(keys, coarser, strict=True)
        ]
    counts = Counter(keys)
    if counts[None] < least:
        largest = max(counts, key=lambda key: counts[key])
        keys = [largest if key is None else key for key in keys]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys])


def _rarest(row: tuple[int, ...], held: Groups) -> int:
    """The label that fewest rows have; -1 for a row without labels."""
    having = [label for label, has in enumerate(row) if has]
    return min(having, key=lambda label: held[label], default=-1)
