"""What the folds of a cross-validation say of one figure."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from compress.records.ranges import Deviation, Figure, Name

FOLD_NAME = re.compile(r"fold-[0-9]+")


@dataclass(frozen=True)
class Spread:
    """One figure over the folds.

    Attributes:
        mean: of the folds, each with equal weight.
        sd: their standard deviation, as a sample's: squares are divided by one less than the folds.
            It is no standard error: folds share most of their train rows, and no estimate of the
            mean's variance from k folds is free of bias (Bengio & Grandvalet, "No unbiased
            estimator of the variance of k-fold cross-validation", JMLR 5:1089, 2004).
        values: of the folds, in their order.
    """

    mean: Figure
    sd: Deviation
    values: tuple[Figure, ...]

    def __str__(self) -> str:
        """Such as "0.842 ± 0.013": the standard deviation with two digits."""
        if self.sd == 0:
            return f"{self.mean:.4g} ± 0"
        # Of the rounded one: 0.00999… is 0.010.
        decimals = max(0, 1 - int(f"{self.sd:.1e}".partition("e")[2]))
        return f"{self.mean:,.{decimals}f} ± {self.sd:,.{decimals}f}"


@dataclass(frozen=True)
class Folds:
    """What became of each fold of a run.

    Attributes:
        folders: each has the fold's own record and model; relative to the run's record.
        kept: whether the models are still there.
        figures: by their names in `compress.records.metrics`; without those that a fold does not
            have.
        baseline: the same figures of the baseline of each fold.
    """

    folders: tuple[Name, ...]
    figures: dict[Name, Spread] = field(default_factory=dict)
    baseline: dict[Name, Spread] = field(default_factory=dict)
    kept: bool = True

    def words(self, names: Sequence[str]) -> str:
        """Such as "5 folds: accuracy 0.842 ± 0.013 (teacher 0.850 ± 0.011)".

        Figures that were not measured are left out.
        """
        told = [
            f"{name} {self.figures[name]} (teacher {self.baseline[name]})"
            for name in names
            if name in self.figures and name in self.baseline
        ]
        return f"{len(self.folders)} folds: {', '.join(told)}"


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard deviation of at least two values."""
    return Spread(statistics.fmean(values), statistics.stdev(values), tuple(values))
