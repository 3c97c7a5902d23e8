"""Where labels go, so that none covers another one or a point: pure geometry, in any one unit.

adjustText 1.4 was tried: it left numbers on points and on the axis, in 3.3 s instead of 1.4.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from matplotlib.transforms import Bbox

DIRECTIONS = 16
# Distances of a label's center from its point, in heights of the label.
REACHES = (0.55, 0.8, 1.2, 1.7, 2.3, 3.0)


def place_labels(
    anchors: Float[np.ndarray, "labels 2"],
    sizes: Float[np.ndarray, "labels 2"],
    points: Float[np.ndarray, "points 2"],
    frame: Bbox,
    clearance: float = 0.0,
) -> Float[np.ndarray, "labels 2"]:
    """Centres for labels, each beside its anchor and as near to it as is free.

    Labels are placed one after the other: the nearest spot inside the frame that covers no label
    placed before and no point. Where there is none, the spot that covers least.

    Args:
        anchors: what the labels belong to.
        sizes: width and height of each label.
        points: what must not be covered, the anchors among them.
        frame: what the labels must stay inside of.
        clearance: what a label keeps away from points, which are dots of some size.
    """
    placed: list[Bbox] = []
    centers = []
    for anchor, size in zip(anchors, sizes, strict=True):
        half = size / 2
        spots = [
            spot
            for spot in _spots(anchor, size)
            if frame.contains(*(spot - half)) and frame.contains(*(spot + half))
        ]
        costs = [_covered(_box(spot, size), placed, points, clearance) for spot in spots]
        best = spots[int(np.argmin(costs))] if spots else anchor
        placed.append(_box(best, size))
        centers.append(best)
    return np.array(centers).reshape(-1, 2)


def _spots(
    anchor: Float[np.ndarray, 2], size: Float[np.ndarray, 2]
) -> Iterator[Float[np.ndarray, 2]]:
    """Around the anchor, the nearest first. A wide label lies further off sideways."""
    width, height = size
    for reach in REACHES:
        for turn in range(DIRECTIONS):
            # From the upper right on, which is where a reader looks first.
            angle = math.pi / 4 + 2 * math.pi * turn / DIRECTIONS
            across = (reach * height + (width - height) / 2) * math.cos(angle)
            yield anchor + np.array([across, reach * height * math.sin(angle)])


def _box(center: Float[np.ndarray, 2], size: Float[np.ndarray, 2]) -> Bbox:
    return Bbox([center - size / 2, center + size / 2])


def _covered(
    box: Bbox, placed: list[Bbox], points: Float[np.ndarray, "points 2"], clearance: float
) -> int:
    """How many labels and points lie under a box; a label counts as several points."""
    near = box.padded(clearance)
    return 5 * int(box.count_overlaps(placed)) + int(near.count_contains(points))
