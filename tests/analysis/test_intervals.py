from __future__ import annotations

import pytest

from compress.analysis.intervals import mcnemar_p_value, wilson_interval


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [
        # 0.5 ± 1.96 · √(0.25/10 + 3.8416/400) / (1 + 0.38416), and the closed forms at the ends
        (5, 10, 0.23659, 0.76341),
        (0, 10, 0.0, 0.27754),
        (10, 10, 0.72246, 1.0),
        (81, 263, 0.25529, 0.36621),  # Newcombe 1998, table I, method 3
        (15, 148, 0.06245, 0.16055),  # likewise
    ],
)
def test_wilson_interval(correct: int, total: int, low: float, high: float) -> None:
    assert wilson_interval(correct, total) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize(
    ("n_regressed", "n_improved", "p_value"),
    [
        (0, 0, 1.0),
        (3, 3, 1.0),
        (0, 1, 1.0),
        (0, 5, 2 / 32),
        (0, 6, 2 / 64),
        (1, 9, 2 * (1 + 10) / 1024),
        (9, 1, 2 * (1 + 10) / 1024),
        (6, 16, 0.0525),  # https://en.wikipedia.org/wiki/McNemar's_test, second example
        (86, 150, 3.7e-5),  # Agresti, Categorical Data Analysis, table 10.1: approval of one man
        (0, 3000, 2.0**-2999),
    ],
)
def test_mcnemars_exact_test(n_regressed: int, n_improved: int, p_value: float) -> None:
    assert mcnemar_p_value(n_regressed, n_improved) == pytest.approx(p_value, rel=0.01)
