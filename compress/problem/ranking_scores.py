"""What every kind of ranking is evaluated and compared by: nDCG of the first ten, over queries."""

from __future__ import annotations

from collections.abc import Mapping

from compress.analysis.ranking import Values, mean, mean_parts
from compress.analysis.resampling import (
    TEST_DRAWS,
    bootstrap_interval,
    paired_standard_error,
    permutation_p_value,
)
from compress.core.problem import Quality
from compress.records.schema import Comparison

DEPTH = 10


def ranking_quality(values: Values, others: Mapping[str, float]) -> Quality:
    """The mean over queries, with a bootstrap interval."""
    low, high = bootstrap_interval(mean_parts(values), mean)
    return Quality("ndcg_at_10", float(values.mean()), low, high, others)


def ranking_comparison(ours: Values, theirs: Values, agreement: float) -> Comparison:
    """A paired permutation test over queries."""
    mine, its = mean_parts(ours), mean_parts(theirs)
    return Comparison(
        agreement=agreement,
        n_regressed=None,
        n_improved=None,
        p_value=permutation_p_value(mine, its, mean),
        test=f"paired permutation test of nDCG over queries, {TEST_DRAWS:,} draws",
        standard_error=paired_standard_error(mine, its, mean),
    )
