from __future__ import annotations

import math
import tracemalloc
from itertools import combinations

import numpy as np
import pytest

from compress.analysis.pareto import Direction, hypervolume, knee, pareto_front

INF = float("inf")
UP_DOWN: tuple[Direction, ...] = ("higher", "lower")
DOWN_DOWN: tuple[Direction, ...] = ("lower", "lower")


@pytest.mark.parametrize(
    ("points", "better", "front"),
    [
        ([[0.9, 10], [0.8, 5], [0.7, 7]], UP_DOWN, [True, True, False]),
        ([[0.7, 7], [0.8, 5], [0.9, 10]], UP_DOWN, [False, True, True]),
        ([[0.9, 10], [0.9, 10]], UP_DOWN, [True, True]),
        ([[0.9, 10], [0.9, 9]], UP_DOWN, [False, True]),
        ([[0.9, 10], [0.8, 10]], UP_DOWN, [True, False]),
        ([[1, 1], [2, 2]], DOWN_DOWN, [True, False]),
        ([[1, 1], [2, 2]], ("higher", "higher"), [False, True]),
        ([[0.9, INF], [0.8, 1]], UP_DOWN, [True, True]),
        ([[0.9, INF], [0.9, INF], [0.8, INF]], UP_DOWN, [True, True, False]),
        ([[-INF, 1], [0.8, 1]], UP_DOWN, [False, True]),
        ([[INF, -INF], [0.8, 1], [INF, 1]], UP_DOWN, [True, False, False]),
        ([[0.0, 1], [-0.0, 1]], UP_DOWN, [True, True]),
        ([[1, 1, 1], [1, 1, 2], [0, 2, 0]], ("lower",) * 3, [True, False, True]),
        # Duplicates of a dominated point, and of one on the front.
        ([[2, 2], [1, 1], [2, 2], [1, 1]], DOWN_DOWN, [False, True, False, True]),
        ([[3.0]], ("lower",), [True]),
        (np.empty((0, 2)), UP_DOWN, []),
        ([[3.0], [2.0], [2.0]], ("lower",), [False, True, True]),
    ],
)
def test_front(points: list[list[float]], better: tuple[Direction, ...], front: list[bool]) -> None:
    assert pareto_front(np.array(points, dtype=float), better).tolist() == front


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_the_front_is_what_the_definition_says(objectives: int) -> None:
    """Every pair compared, on a grid so coarse that ties and duplicates abound."""
    rng = np.random.default_rng(objectives)
    better: tuple[Direction, ...] = ("lower", "higher", "lower", "higher")[:objectives]
    for _ in range(20):
        points = rng.integers(0, 4, (30, objectives)).astype(float)
        losses = points * [1 if way == "lower" else -1 for way in better]
        beaten = [any((o <= p).all() and (o < p).any() for o in losses) for p in losses]
        assert pareto_front(points, better).tolist() == [not each for each in beaten]


def test_memory_grows_with_the_points_not_with_their_pairs() -> None:
    angles = np.linspace(0, math.pi / 2, 4000)
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    tracemalloc.start()
    assert pareto_front(points, ("higher", "higher")).all()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * points.nbytes, "a table of all pairs has 2,000 times the points' bytes"


@pytest.mark.parametrize("function", [pareto_front, knee])
def test_what_is_no_table_of_objectives_is_refused(function) -> None:  # type: ignore[no-untyped-def]
    for points, better, said in (
        ([[np.nan, 1.0]], UP_DOWN, "a point with NaN has no place on a front"),
        ([[1.0]], UP_DOWN, r"expected 2 objectives a point, got shape \(1, 1\)"),
        ([1.0, 2.0], UP_DOWN, r"expected 2 objectives a point, got shape \(2,\)"),
        (np.empty((2, 0)), (), "expected at least one objective"),
    ):
        with pytest.raises(ValueError, match=said):
            function(np.array(points), better)


@pytest.mark.parametrize(
    ("shares", "volume"),
    [
        (np.empty((0, 2)), 0.0),
        ([[0.4], [0.7], [0.1]], 0.7),
        ([[0.5, 0.4]], 0.2),
        ([[0.5, 0.4], [0.5, 0.4]], 0.2),
        ([[0.5, 0.0]], 0.0),
        # 2 · 1 and 1 · 3 share 1 · 1.
        ([[2, 1], [1, 3]], 4.0),
        # The third lies inside the first.
        ([[2, 1], [1, 3], [1.5, 0.5]], 4.0),
        ([[2, 1], [2, 3]], 6.0),  # a tie: the second holds the first
        ([[1, 2, 3]], 6.0),
        # 3 + 3 + 3, less 3 pairs that share 1 each, and the three share that 1 once more.
        ([[3, 1, 1], [1, 3, 1], [1, 1, 3]], 7.0),
        # 4 + 4 share 2 · 1 · 1.
        ([[2, 2, 1], [2, 1, 2]], 6.0),
    ],
)
def test_hypervolume_by_hand(shares: list[list[float]], volume: float) -> None:
    assert hypervolume(np.array(shares, dtype=float)) == pytest.approx(volume)


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_hypervolume_by_inclusion_and_exclusion(objectives: int) -> None:
    shares = np.random.default_rng(objectives).random((7, objectives))
    volume = sum(
        -((-1) ** count) * np.prod(np.min(chosen, axis=0))
        for count in range(1, len(shares) + 1)
        for chosen in combinations(shares, count)
    )
    assert hypervolume(shares) == pytest.approx(volume)


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ([[np.nan, 1]], "finite values that are not negative"),
        ([[np.inf, 1]], "finite values that are not negative"),
        ([[-0.1, 1]], "finite values that are not negative"),
        ([1.0, 2.0], r"one row a point with objectives, got shape \(2,\)"),
        (np.empty((2, 0)), r"one row a point with objectives, got shape \(2, 0\)"),
    ],
)
def test_what_has_no_hypervolume_is_refused(shares: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        hypervolume(np.array(shares))


@pytest.mark.parametrize(
    ("points", "better", "row"),
    [
        # Scaled: (0, 1), (0.1, 0.2), (0.5, 0.1), (1, 0), so 0.7, 0.4 beyond the line.
        ([[0, 10], [1, 2], [5, 1], [10, 0]], DOWN_DOWN, 1),
        # The same, scaled and turned: units and directions move nothing.
        ([[1.0, 10e6], [0.9, 2e6], [0.5, 1e6], [0.0, 0]], UP_DOWN, 1),
        # A dominated point is not asked, however near to the best corner it looks.
        ([[0, 10], [1.5, 2.5], [1, 2], [10, 0]], DOWN_DOWN, 2),
        ([[0, 4], [1, 1], [1, 1], [4, 0]], DOWN_DOWN, 1),  # the first of equal ones
        ([[0, 4], [1, 2], [2, 1], [4, 0]], DOWN_DOWN, 1),  # and of equally far ones
        ([[0, 1], [1, 0]], DOWN_DOWN, None),  # two ends and nothing between
        ([[0, 1], [0.1, 0.9], [1, 0]], DOWN_DOWN, None),  # on the line
        ([[0, 1], [0.7, 0.8], [1, 0]], DOWN_DOWN, None),  # on its worse side
        ([[3, 4]], DOWN_DOWN, 0),
        ([[9, 9], [3, 4], [3, 4]], DOWN_DOWN, 1),
        ([[3.0], [2.0], [2.0]], ("lower",), 1),
        # The ideal is (0, 0, 0); the first three are 1 away from it, the last √0.27.
        ([[0, 0, 1], [0, 1, 0], [1, 0, 0], [0.3, 0.3, 0.3]], ("lower",) * 3, 3),
        # An objective that is the same everywhere counts for nothing.
        ([[0, 5, 9], [1, 5, 2], [9, 5, 0]], ("lower",) * 3, 1),
        (np.empty((0, 2)), DOWN_DOWN, None),
    ],
)
def test_knee(points: list[list[float]], better: tuple[Direction, ...], row: int | None) -> None:
    assert knee(np.array(points, dtype=float), better) == row


def test_a_front_without_scale_has_no_knee() -> None:
    with pytest.raises(ValueError, match="infinite values has no scale"):
        knee(np.array([[0.0, INF], [1.0, 2.0]]), DOWN_DOWN)
