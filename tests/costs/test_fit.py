"""Fits of made-up machines, and one by hand."""

from __future__ import annotations

import numpy as np
import pytest

from compress.costs.fit import fit

COUNTS = np.random.default_rng(0).integers(1, 9, (12, 4)) * np.array([1.0, 10.0, 1e4, 1e6])


@pytest.mark.parametrize("times", [(0.3, 0.02, 4e-6, 3e-9), (0.0, 0.02, 0.0, 3e-9)])
def test_a_machine_is_found_from_its_times(times: tuple[float, ...]) -> None:
    found = fit(COUNTS, COUNTS @ np.array(times))
    assert found.coefficients == pytest.approx(times, rel=1e-9, abs=1e-15)
    assert found.worst_error < 1e-9
    features = np.array([2.0, 5.0, 7e4, 1e7])
    assert found.predict(features) == pytest.approx(features @ np.array(times))


def test_each_point_is_predicted_from_the_others() -> None:
    """The constant c of least Σ (c / y − 1)² is Σ 1/y over Σ 1/y²."""
    found = fit(np.ones((3, 1)), np.array([1.0, 2.0, 4.0]))
    assert found.coefficients == pytest.approx([1.75 / 1.3125])
    # From 2 and 4: 0.75 / 0.3125 = 2.4. From 1 and 4: 1.25 / 1.0625. From 1 and 2: 1.5 / 1.25.
    assert found.errors == pytest.approx([2.4 / 1 - 1, 1.25 / 1.0625 / 2 - 1, 1.2 / 4 - 1])
    assert found.worst_error == pytest.approx(1.4)
    assert found.median_error == pytest.approx(0.7)


def test_nothing_takes_a_negative_time() -> None:
    """A line through 3 and 1 falls: the best constant is (1/3 + 1) / (1/9 + 1)."""
    found = fit(np.array([[1.0, 0.0], [1.0, 1.0]]), np.array([3.0, 1.0]))
    assert found.coefficients == pytest.approx([1.2, 0.0])


def test_what_is_known_is_not_fitted() -> None:
    known, rest = np.array([100.0, 50.0, 10.0]), np.array([2.0, 4.0, 6.0])
    found = fit(rest[:, None], known + 3 * rest, known)
    assert found.coefficients == pytest.approx([3.0])
    assert found.predict(np.array([5.0]), 20.0) == pytest.approx(35.0)
    # A relative error is that of the whole: without the third, the fit still knows its 10.
    wrong = fit(rest[:, None], known + np.array([6.0, 12.0, 27.0]), known)
    assert wrong.errors[2] == pytest.approx((10 + 18) / (10 + 27) - 1)
