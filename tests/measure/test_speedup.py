from __future__ import annotations

import math

import numpy as np
import pytest

from compress.measure.speedup import noise_floor, outside, relative_width, speedup_interval


def test_the_ratio_by_hand() -> None:
    # Medians 2 and 8 in two sittings; their geometric mean is 4.
    sittings = [np.log([1.0, 2.0, 50.0]), np.log([8.0, 8.0, 8.0])]
    ratio, low, high = speedup_interval(sittings, seed=0)
    assert ratio == pytest.approx(4.0)
    # The bootstrap draws the sitting of eights twice in a quarter of its samples.
    # √(50 · 8) = 20 is 5 times the ratio; the spread of 2 sittings drawn from 2 is √2 too small.
    assert high == pytest.approx(4 * 5 ** math.sqrt(2), rel=0.01)
    assert low < 2.0
    assert speedup_interval([np.log([2.0])], seed=0) == pytest.approx((2.0, 2.0, 2.0))


def test_the_interval_covers_the_truth_and_narrows() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for rounds in (10, 80):
        covered = 0
        for _ in range(40):
            sittings = [math.log(2) + rng.normal(0, 0.05, rounds) for _ in range(3)]
            interval = ratio, low, high = speedup_interval(sittings, seed=0)
            assert low <= ratio <= high
            covered += low < 2.0 < high
        assert covered >= 36
        widths.append(relative_width(interval))
    assert widths[1] < widths[0] / 2


def test_sittings_that_differ_widen_the_interval() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.01, (3, 50))
    same = speedup_interval(list(noise), seed=0)
    apart = speedup_interval(list(noise + np.array([[-0.03], [0.0], [0.03]])), seed=0)
    assert relative_width(apart) > 3 * relative_width(same)


def test_it_repeats() -> None:
    sittings = list(np.random.default_rng(1).normal(0, 0.1, (3, 9)))
    assert speedup_interval(sittings, 0) == speedup_interval(sittings, 0)


def test_the_floor_and_what_is_outside_it() -> None:
    assert noise_floor((1.0, 0.8, 1.1)) == pytest.approx(1.25)
    assert noise_floor((1.0, 0.95, 1.1)) == 1.1
    assert noise_floor((1.02, 1.01, 1.03)) == 1.03
    assert outside(1.11, 1.3, 1.1)
    assert not outside(1.09, 1.3, 1.1)
    assert not outside(0.5, 0.92, 1.1)
    assert outside(0.5, 0.9, 1.1)
