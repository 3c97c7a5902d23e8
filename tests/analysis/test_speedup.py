from __future__ import annotations

import math

import numpy as np
import pytest

from compress.analysis.speedup import noise_floor, relative_width, speedup_interval
from compress.records.measurements import outside


@pytest.mark.parametrize(
    ("restarts", "expected"),
    [
        ([[2.0]], (2.0, 2.0, 2.0)),
        ([[2.0, 2.0, 2.0], [2.0]], (2.0, 2.0, 2.0)),
        # Two rounds are drawn from two: both the first in a quarter of the samples, so 1; both
        # the second in another, so 4; the median of one of each is √(1 · 4).
        ([[1.0, 4.0]], (2.0, 1.0, 4.0)),
        # Two restarts are drawn from two: the spread is √2 too small.
        ([[1.0, 1.0], [4.0, 4.0]], (2.0, 2 / 2 ** math.sqrt(2), 2 * 2 ** math.sqrt(2))),
        # Of three rounds the one that was disturbed moves the median in 7 of 27 samples.
        ([[2.0, 2.0, 50.0]], (2.0, 2.0, 50.0)),
    ],
)
def test_the_interval_by_hand(
    restarts: list[list[float]], expected: tuple[float, float, float]
) -> None:
    found = speedup_interval([np.log(rounds) for rounds in restarts], seed=0)
    assert found == pytest.approx(expected)


def test_rounds_and_restarts_both_widen_it() -> None:
    # Medians 2 and 8 in two restarts; their geometric mean is 4.
    restarts = [np.log([1.0, 2.0, 50.0]), np.log([8.0, 8.0, 8.0])]
    ratio, low, high = speedup_interval(restarts, seed=0)
    assert ratio == pytest.approx(4.0)
    # The bootstrap draws the restart of eights twice in a quarter of its samples.
    # √(50 · 8) = 20 is 5 times the ratio; the spread of 2 restarts drawn from 2 is √2 too small.
    assert high == pytest.approx(4 * 5 ** math.sqrt(2), rel=0.01)
    assert low < 2.0


def test_the_interval_covers_the_truth_and_narrows() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for rounds in (10, 80):
        covered = 0
        for _ in range(40):
            restarts = [math.log(2) + rng.normal(0, 0.05, rounds) for _ in range(3)]
            interval = ratio, low, high = speedup_interval(restarts, seed=0)
            assert low <= ratio <= high
            covered += low < 2.0 < high
        assert covered >= 36
        widths.append(relative_width(interval))
    assert widths[1] < widths[0] / 2


def test_restarts_that_differ_widen_the_interval() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.01, (3, 50))
    same = speedup_interval(list(noise), seed=0)
    assert same == speedup_interval(list(noise), seed=0)
    apart = speedup_interval(list(noise + np.array([[-0.03], [0.0], [0.03]])), seed=0)
    assert relative_width(apart) > 3 * relative_width(same)


@pytest.mark.parametrize(
    ("interval", "floor"),
    [
        ((1.0, 0.8, 1.1), 1.25),  # 1 / 0.8 is further from 1 than 1.1
        ((1.0, 0.95, 1.1), 1.1),
        ((1.02, 1.01, 1.03), 1.03),
        ((0.9, 0.8, 0.96), 1.25),
        ((1.0, 1.0, 1.0), 1.0),
    ],
)
def test_the_noise_floor(interval: tuple[float, float, float], floor: float) -> None:
    assert noise_floor(interval) == pytest.approx(floor)


@pytest.mark.parametrize(
    ("low", "high", "floor", "is_outside"),
    [
        (1.11, 1.3, 1.1, True),
        (1.09, 1.3, 1.1, False),
        (1.1, 1.3, 1.1, False),  # touches
        (0.5, 0.9, 1.1, True),  # 1 / 1.1 is 0.909
        (0.5, 0.92, 1.1, False),
        (0.8, 1.3, 1.1, False),
        (1.001, 1.002, 1.0, True),
    ],
)
def test_what_lies_outside_the_floor(
    low: float, high: float, floor: float, is_outside: bool
) -> None:
    assert outside(low, high, floor) is is_outside


def test_the_relative_width() -> None:
    assert relative_width((2.0, 1.8, 2.3)) == pytest.approx(0.25)
