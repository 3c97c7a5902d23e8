from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.transforms import Bbox

from compress.report.labels import place_labels

FRAME = Bbox([[0, 0], [200, 200]])
SIZE = np.array([12.0, 8.0])


def boxes(centres: np.ndarray, sizes: np.ndarray) -> list[tuple[float, ...]]:
    return [
        (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        for (x, y), (w, h) in zip(centres, sizes, strict=True)
    ]


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@pytest.mark.parametrize("spread", [2.0, 10.0, 60.0])
def test_no_label_covers_another_one_or_a_point(spread: float) -> None:
    """Twelve labels in one heap, a line, and at rest."""
    points = 100 + np.random.default_rng(0).normal(0, spread, (12, 2)).clip(-95, 95)
    sizes = np.tile(SIZE, (12, 1))
    found = boxes(place_labels(points, sizes, points, FRAME), sizes)
    for i, box in enumerate(found):
        assert not any(overlap(box, other) for other in found[:i])
        assert box[0] >= 0 <= box[1]
        assert box[2] <= 200 >= box[3]
        assert not any(box[0] < x < box[2] and box[1] < y < box[3] for x, y in points)


def test_a_lonely_label_is_just_above_its_point() -> None:
    point = np.array([[100.0, 100.0]])
    ((x, y),) = place_labels(point, SIZE[None], point, FRAME)
    # 0.55 of its height off at 45° covers the point, at 67.5° no more. Half of what it is wider
    # than high comes on top sideways.
    assert x == pytest.approx(100 + (0.55 * 8 + 2) * math.cos(3 * math.pi / 8))
    assert y == pytest.approx(100 + 0.55 * 8 * math.sin(3 * math.pi / 8))


@pytest.mark.parametrize("corner", [(0.0, 0.0), (200.0, 0.0), (0.0, 200.0), (200.0, 200.0)])
def test_a_label_stays_inside_the_frame(corner: tuple[float, float]) -> None:
    point = np.array([corner])
    ((left, bottom, right, top),) = boxes(place_labels(point, SIZE[None], point, FRAME), SIZE[None])
    assert (left >= 0, bottom >= 0, right <= 200, top <= 200) == (True,) * 4


def test_where_there_is_no_room_labels_are_still_placed() -> None:
    point = np.array([[5.0, 5.0], [5.0, 5.0]])
    sizes = np.tile(SIZE, (2, 1))
    assert place_labels(point, sizes, point, Bbox([[0, 0], [10, 10]])).tolist() == point.tolist()
    assert place_labels(np.empty((0, 2)), np.empty((0, 2)), point, FRAME).shape == (0, 2)
