"""How sure a figure is: intervals and tests, as pure functions."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

# scipy is imported where it is used: it takes long, and config errors should not.


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """The 95 % interval of the share `correct` of `total` > 0: Wilson 1927, JASA 22:209."""
    from scipy import stats

    found = stats.binomtest(correct, total).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def mcnemar_p_value(n_regressed: int, n_improved: int) -> float:
    """McNemar's exact two-sided test (Psychometrika 12:153, 1947); 1 where no row differs.

    Args:
        n_regressed: rows that only the baseline has right.
        n_improved: rows that only the candidate has right.
    """
    from scipy import stats

    rows = n_regressed + n_improved
    return float(stats.binomtest(n_regressed, rows).pvalue) if rows else 1.0


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % confidence interval of a mean, by Student's t (Biometrika 6:1, 1908).

    Args:
        values: two or more, taken for independent.
    """
    from scipy.special import stdtrit

    mean = statistics.fmean(values)
    spread = statistics.stdev(values) / math.sqrt(len(values))
    reach = float(stdtrit(len(values) - 1, 0.975)) * spread
    return mean - reach, mean + reach


def paired_t_p_value(differences: Sequence[float]) -> float:
    """Student's two-sided test of whether differences have a mean of 0; 1 where all are 0.

    Args:
        differences: two or more, taken for independent.
    """
    from scipy.special import stdtr

    spread = statistics.stdev(differences) / math.sqrt(len(differences))
    mean = statistics.fmean(differences)
    if spread == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stdtr(len(differences) - 1, -abs(mean) / spread))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values of several tests, corrected so that all may be read at one level.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 6:65, 1979.
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected
