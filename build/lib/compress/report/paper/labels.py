"""Where labels go, so that none covers another one or a point: pure geometry, in any one unit."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

DIRECTIONS = 16
# Distances of a label's centre from its point, in heights of the label.
REACHES = (0.55, 0.8, 1.2, 1.7, 2.3, 3.0)

Box = tuple[float, float, float, float]  # left, bottom, right, top


def place_labels(
    anchors: Float[np.ndarray, "labels 2"],
    sizes: Float[np.ndarray, "labels 2"],
    points: Float[np.ndarray, "points 2"],
    frame: Box,
) -> Float[np.ndarray, "labels 2"]:
    """Centres for labels, each beside its anchor and as near to it as is free.

    Labels are placed one after the other: the nearest spot inside the frame that covers no label
    placed before and no point. Where there is none, the spot that covers least.

    Args:
        anchors: what the labels belong to.
        sizes: width and height of each label.
        points: what must not be covered, the anchors among them.
        frame: what the labels must stay inside of.
    """
    placed: list[Box] = []
    centres = []
    for anchor, size in zip(anchors, sizes, strict=True):
        spots = [spot for spot in _spots(anchor, size) if _inside(_box(spot, size), frame)]
        costs = [_covered(_box(spot, size), placed, points) for spot in spots]
        best = spots[int(np.argmin(costs))] if spots else anchor
        placed.append(_box(best, size))
        centres.append(best)
    return np.array(centres).reshape(-1, 2)


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


def _box(centre: Float[np.ndarray, 2], size: Float[np.ndarray, 2]) -> Box:
    (x, y), (width, height) = centre, size
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _inside(box: Box, frame: Box) -> bool:
    return box[0] >= frame[0] and box[1] >= frame[1] and box[2] <= frame[2] and box[3] <= frame[3]


def _covered(box: Box, placed: list[Box], points: Float[np.ndarray, "points 2"]) -> int:
    """How many labels and points lie under a box; a label counts as several points."""
    left, bottom, right, top = box
    labels = sum(
        left < other[2] and other[0] < right and bottom < other[3] and other[1] < top
        for other in placed
    )
    x, y = points[:, 0], points[:, 1]
    under = (left < x) & (x < right) & (bottom < y) & (y < top)
    return 5 * labels + int(under.sum())
