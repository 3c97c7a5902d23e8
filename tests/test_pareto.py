from __future__ import annotations

import numpy as np
import pytest

from compress.pareto import Direction, pareto_front

INF = float("inf")
UP_DOWN: tuple[Direction, ...] = ("higher", "lower")


@pytest.mark.parametrize(
    ("points", "better", "front"),
    [
        ([[0.9, 10], [0.8, 5], [0.7, 7]], UP_DOWN, [True, True, False]),
        ([[0.9, 10], [0.9, 10]], UP_DOWN, [True, True]),
        ([[0.9, 10], [0.9, 9]], UP_DOWN, [False, True]),
        ([[0.9, 10], [0.8, 10]], UP_DOWN, [True, False]),
        ([[1, 1], [2, 2]], ("lower", "lower"), [True, False]),
        ([[1, 1], [2, 2]], ("higher", "higher"), [False, True]),
        ([[0.9, INF], [0.8, 1]], UP_DOWN, [True, True]),
        ([[-INF, 1], [0.8, 1]], UP_DOWN, [False, True]),
        ([[1, 1, 1], [1, 1, 2], [0, 2, 0]], ("lower",) * 3, [True, False, True]),
        ([[3.0]], ("lower",), [True]),
        ([[3.0], [2.0], [2.0]], ("lower",), [False, True, True]),
    ],
)
def test_front(points: list[list[float]], better: tuple[Direction, ...], front: list[bool]) -> None:
    assert pareto_front(np.array(points, dtype=float), better).tolist() == front


def test_no_points_have_an_empty_front() -> None:
    assert pareto_front(np.empty((0, 2)), UP_DOWN).tolist() == []


def test_nan_and_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        pareto_front(np.array([[np.nan, 1.0]]), UP_DOWN)
    with pytest.raises(ValueError, match="expected 2 objectives"):
        pareto_front(np.array([[1.0]]), UP_DOWN)
