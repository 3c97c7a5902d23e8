"""How sure a figure is: intervals and tests, as pure functions."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

Z_95 = 1.959963984540054  # two-sided 95 % quantile of the normal distribution


def wilson_interval(correct: int, total: int, z: float = Z_95) -> tuple[float, float]:
    """Confidence interval of a share, after Wilson 1927 (J. Am. Stat. Assoc. 22:209).

    Args:
        correct: how many of `total` > 0.
        total: the sample size.
        z: quantile of the normal distribution; 95 % by default.
    """
    share = correct / total
    centre = share + z**2 / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    scale = 1 + z**2 / total
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def mcnemar_p_value(n_regressed: int, n_improved: int) -> float:
    """McNemar's exact two-sided test (Psychometrika 12:153, 1947); 1 where no row differs.

    Args:
        n_regressed: rows that only the baseline has right.
        n_improved: rows that only the candidate has right.
    """
    # Imported here and below: scipy.stats takes long, and config errors should not.
    from scipy import stats

    rows = n_regressed + n_improved
    return float(stats.binomtest(n_regressed, rows).pvalue) if rows else 1.0


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % confidence interval of a mean, by Student's t (Biometrika 6:1, 1908).

    Args:
        values: two or more, taken for independent.
    """
    from scipy import stats

    mean = statistics.fmean(values)
    spread = statistics.stdev(values) / math.sqrt(len(values))
    reach = float(stats.t.ppf(0.975, len(values) - 1)) * spread
    return mean - reach, mean + reach


def paired_t_p_value(differences: Sequence[float]) -> float:
    """Student's two-sided test of whether differences have a mean of 0; 1 where all are 0.

    Args:
        differences: two or more, taken for independent.
    """
    from scipy import stats

    spread = statistics.stdev(differences) / math.sqrt(len(differences))
    mean = statistics.fmean(differences)
    if spread == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stats.t.sf(abs(mean) / spread, len(differences) - 1))
