"""Dominance, hypervolume and knee: pure functions over tables of objectives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

Direction = Literal["higher", "lower"]
# Points on a line are a little off it: 1 - (0.9 + 0.1) may not be 0.
ROUNDING = 1e-9


def pareto_front(
    points: Float[np.ndarray, "points objectives"], better: Sequence[Direction]
) -> Bool[np.ndarray, " points"]:
    """True for each point that no other point dominates.

    One point dominates another if it is nowhere worse and somewhere better. Equal points do not
    dominate each other: all of them are on the front, or none. Takes one pass over the points for
    each point of the front, and memory in proportion to the points.

    Args:
        points: one row a point; infinities are allowed.
        better: for each objective, which direction is better; at least one.

    Raises:
        ValueError: a value is NaN, or the directions do not match the columns.
    """
    losses = _losses(points, better)
    front = np.zeros(len(losses), dtype=bool)
    # Nothing dominates the first one in this order, and what it dominates needs no further look.
    rows = np.lexsort(losses.T[::-1])
    left = np.ascontiguousarray(losses[rows].T)
    while len(rows):
        front[rows[0]] = True
        first, rows, left = left[:, :1], rows[1:], left[:, 1:]
        kept = (left < first).any(axis=0) | (left == first).all(axis=0)
        if not kept.all():
            rows, left = rows[kept], left[:, kept]
    return front


def hypervolume(shares: Float[np.ndarray, "points objectives"]) -> float:
    """Volume of the union of the boxes from the origin to each point; higher is better everywhere.

    By slicing along the last objective (While et al., "A faster algorithm for calculating
    hypervolume", 2006, section II), which is exact, and fast enough for a few hundred points.

    Args:
        shares: one row a point, none negative; no rows give 0.

    Raises:
        ValueError: a value is NaN, infinite or negative, or there is no objective.
    """
    if shares.ndim != 2 or not shares.shape[1]:
        raise ValueError(f"expected one row a point with objectives, got shape {shares.shape}")
    if not (np.isfinite(shares) & (shares >= 0)).all():
        raise ValueError("a hypervolume needs finite values that are not negative")
    return _volume(shares)


def knee(points: Float[np.ndarray, "points objectives"], better: Sequence[Direction]) -> int | None:
    """The point of the front where getting more of one thing begins to cost much of another.

    Of two objectives, both scaled to [0, 1] over the front: the point that lies farthest from the
    line between the front's two ends, on its better side (Das, "On characterizing the 'knee' of the
    Pareto curve based on normal-boundary intersection", Structural Optimization 18:107, 1999). Of
    three or more, where the front's ends span no plane in general: the point nearest to the ideal
    one, which has the best of each. Both depend on where the front ends, so another extreme point
    can move the knee.

    Args:
        points: one row a point.
        better: for each objective, which direction is better; at least one.

    Returns:
        Its row, the first of equal ones. None without points, and where a front of two objectives
        has nothing on the better side of the line.

    Raises:
        ValueError: a value is NaN or infinite, or the directions do not match the columns.
    """
    losses = _losses(points, better)
    if not np.isfinite(losses).all():
        raise ValueError("a front with infinite values has no scale, so no knee")
    rows = np.flatnonzero(pareto_front(points, better))
    if not len(rows):
        return None
    front = losses[rows]
    span = np.ptp(front, axis=0)
    if not span.any():  # one point, or equal ones: the best of all
        return int(rows[0])
    scaled = (front - front.min(axis=0)) / np.where(span > 0, span, 1.0)
    if len(better) > 2:
        return int(rows[np.linalg.norm(scaled, axis=1).argmin()])
    # The ends are (0, 1) and (1, 0).
    beyond = 1 - scaled.sum(axis=1)
    farthest = int(beyond.argmax())
    return int(rows[farthest]) if beyond[farthest] > ROUNDING else None


def _losses(
    points: Float[np.ndarray, "points objectives"], better: Sequence[Direction]
) -> Float[np.ndarray, "points objectives"]:
    """The points with every objective turned so that lower is better."""
    if not better:
        raise ValueError("expected at least one objective")
    if points.ndim != 2 or points.shape[1] != len(better):
        raise ValueError(f"expected {len(better)} objectives a point, got shape {points.shape}")
    if np.isnan(points).any():
        raise ValueError("a point with NaN has no place on a front")
    losses: Float[np.ndarray, "points objectives"] = points * np.array(
        [-1.0 if way == "higher" else 1.0 for way in better]
    )
    return losses


def _volume(shares: Float[np.ndarray, "points objectives"]) -> float:
    if not len(shares):
        return 0.0
    if shares.shape[1] == 1:
        return float(shares.max())
    order = np.argsort(-shares[:, -1], kind="stable")
    heights = [*map(float, shares[order, -1]), 0.0]
    return sum(
        (heights[count - 1] - heights[count]) * _volume(shares[order[:count], :-1])
        for count in range(1, len(order) + 1)
        if heights[count - 1] > heights[count]
    )
