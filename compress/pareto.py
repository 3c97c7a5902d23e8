"""Pareto dominance and hypervolume: pure functions over tables of objectives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

Direction = Literal["higher", "lower"]


def pareto_front(
    points: Float[np.ndarray, "points objectives"], better: Sequence[Direction]
) -> Bool[np.ndarray, " points"]:
    """True for each point that no other point dominates.

    One point dominates another if it is nowhere worse and somewhere better. Equal points do not
    dominate each other: all of them are on the front, or none.

    Args:
        points: one row a point; infinities are allowed.
        better: for each objective, which direction is better.

    Raises:
        ValueError: a value is NaN, or the directions do not match the columns.
    """
    if points.ndim != 2 or points.shape[1] != len(better):
        raise ValueError(f"expected {len(better)} objectives a point, got shape {points.shape}")
    if np.isnan(points).any():
        raise ValueError("a point with NaN has no place on a front")
    losses = points * np.array([-1.0 if way == "higher" else 1.0 for way in better])
    no_worse = (losses[:, None, :] <= losses[None, :, :]).all(axis=2)
    somewhere_better = (losses[:, None, :] < losses[None, :, :]).any(axis=2)
    dominated = (no_worse & somewhere_better).any(axis=0)
    front: Bool[np.ndarray, " points"] = np.logical_not(dominated)
    return front


def hypervolume(shares: Float[np.ndarray, "points objectives"]) -> float:
    """Volume of the union of the boxes from the origin to each point; higher is better everywhere.

    By slicing along the last objective (While et al., "A faster algorithm for calculating
    hypervolume", 2006, section II), which is exact, and fast enough for a few hundred points.

    Args:
        shares: one row a point, none negative; no rows give 0.
    """
    if not len(shares):
        return 0.0
    if shares.shape[1] == 1:
        return float(shares.max())
    order = np.argsort(-shares[:, -1], kind="stable")
    heights = [*map(float, shares[order, -1]), 0.0]
    return sum(
        (heights[count - 1] - heights[count]) * hypervolume(shares[order[:count], :-1])
        for count in range(1, len(order) + 1)
        if heights[count - 1] > heights[count]
    )
