"""Whether a model loses less than a margin: one-sided tests of paired differences. Pure.

Rows that are right or wrong: the score test of Tango, "Equivalence test and confidence interval for
the difference in proportions for the paired-sample design", Statistics in Medicine 17:891, 1998,
section 2. Deviation: a continuity correction of half a row; without it up to 6.6 % of the models
that lose exactly the margin pass at a level of 5 %, with it at most 5 % (docs/false_passes.md).

Other scores: the difference over its paired standard error, by Student's t. Where that is 0 and
nothing has changed: how likely rows show nothing, as each is drawn by itself.

Several seeds: the mean of the differences. Its variance is that of the rows, which all seeds share,
plus that between seeds over their number, with the degrees of freedom of Satterthwaite, "An
approximate distribution of estimates of variance components", Biometrics Bulletin 2:110, 1946.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

# scipy is imported where it is used: it takes long, and config errors should not.

POWER = 0.8  # how likely the rows that are said to be needed are to decide
FEASIBLE = 50  # times the rows that there are: nobody labels more


@dataclass(frozen=True)
class Change:
    """How a model's quality differs from its baseline's on the rows of one split.

    Attributes:
        value: negative where the model is worse.
        rows: how many there are.
        n_regressed: rows that only the baseline has right; null of scores that count none.
        n_improved: rows that only the model has right.
        standard_error: of the value over rows, paired; null where the counts give it.
    """

    value: float
    rows: int
    n_regressed: float | None = None
    n_improved: float | None = None
    standard_error: float | None = None


@dataclass(frozen=True)
class Evidence:
    """What rows and seeds say of a loss and a margin.

    Attributes:
        change: mean over the seeds; negative is a loss.
        p_within: how likely a change at least as good is if the loss is the margin or more. Small
            values show that the loss is smaller than the margin.
        p_beyond: how likely a change at least as bad is if the loss is the margin or less.
        rows: that were compared.
        rows_needed: about how many would show on which side of the margin the loss lies, with a
            probability of `POWER` and the same change, spread and seeds; null if no feasible number
            would, because the change is next to the margin or the seeds differ too much.
    """

    change: float
    p_within: float
    p_beyond: float
    rows: int
    rows_needed: int | None


def evidence(changes: Sequence[Change], margin: float, alpha: float) -> Evidence:
    """Tests a model, trained with one or several seeds, against a margin > 0.

    Args:
        changes: one a seed, all on the same rows.
        margin: the loss of quality that is too much.
        alpha: level of the test, for `rows_needed`.
    """
    from scipy.special import ndtri, stdtr

    change, rows = statistics.fmean(each.value for each in changes), changes[0].rows
    row_variance, row_freedom, correction = _row_variance(changes, margin)
    between = _seed_variance(changes)
    error = math.sqrt(row_variance + between)
    freedom = _freedom((row_variance, row_freedom), (between, len(changes) - 1))
    if error == 0 and not change:
        return _unchanged(rows, margin, alpha)

    def tail(distance: float) -> float:
        if error == 0:  # all rows differ alike, and all seeds
            return 0.0 if distance > 0 else 1.0
        return float(stdtr(freedom, -(distance - correction) / error))

    distance = change + margin
    wanted = float(ndtri(1 - alpha) + ndtri(POWER))
    # error² falls with the rows, but for the seeds' part of it.
    reach = (distance / wanted) ** 2 - between
    times = row_variance / reach if reach > 0 else math.inf
    needed = math.ceil(rows * times) if times <= FEASIBLE else None
    return Evidence(change, tail(distance), tail(-distance), rows, needed)


def _unchanged(rows: int, margin: float, alpha: float) -> Evidence:
    """The evidence of rows none of which shows a change, in any seed.

    A model that loses a share of the rows has to change at least that share of them. For
    correlations and F1, to which a row can add more or less than its share, it is about that.
    """
    kept = max(0.0, 1 - margin)
    needed = math.ceil(math.log(alpha) / math.log(kept)) if kept else 1
    return Evidence(0.0, kept**rows, 1.0, rows, needed)


def tango_variance(n_regressed: float, n_improved: float, rows: int, margin: float) -> float:
    """Variance of the difference of two paired shares if it is -margin (section 2, equation 6).

    With the probability of an improved row at its maximum likelihood under that condition. No
    model loses more than all rows.
    """
    margin = min(margin, 1.0)
    whole = n_regressed + n_improved
    linear = whole - 2 * rows * margin + margin * (n_regressed - n_improved)
    constant = 8 * rows * n_improved * margin * (1 - margin)
    improved = (linear + math.sqrt(linear**2 + constant)) / (4 * rows)
    return (2 * improved + margin - margin**2) / rows


def _row_variance(changes: Sequence[Change], margin: float) -> tuple[float, float, float]:
    """Variance of the mean change over rows, its degrees of freedom, and the correction.

    The seeds share their rows, so the mean over seeds has the variance of one.
    """
    rows = changes[0].rows
    errors = [each.standard_error for each in changes if each.standard_error is not None]
    if len(errors) == len(changes):
        return statistics.fmean(error**2 for error in errors), rows - 1, 0.0
    regressed, improved = (
        statistics.fmean(float(getattr(each, name)) for each in changes)
        for name in ("n_regressed", "n_improved")
    )
    return tango_variance(regressed, improved, rows, margin), math.inf, 0.5 / rows


def _seed_variance(changes: Sequence[Change]) -> float:
    if len(changes) == 1:
        return 0.0
    return statistics.variance(each.value for each in changes) / len(changes)


def _freedom(*parts: tuple[float, float]) -> float:
    """Degrees of freedom of a sum of variances, out of each one and its own."""
    whole = sum(variance for variance, _ in parts)
    uncertain = sum(variance**2 / freedom for variance, freedom in parts if variance)
    return whole**2 / uncertain if uncertain else math.inf
