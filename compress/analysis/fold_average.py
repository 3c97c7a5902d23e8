"""The record of a whole run out of those of its folds: pure.

Most figures are means over the folds, each with equal weight, a whole number rounded where the
folds' are whole. What counts things seen in each fold is added up. An interval is that of the mean:
folds evaluate different rows and are timed separately, so their errors are taken as independent and
their distances from the ends are added as squares (Zou & Donner, "Construction of confidence limits
about effect measures: a general approach", Statistics in Medicine 27:1693, 2008; of equally large
folds' Wilson intervals that is nearly Wilson's of all rows). It holds for the rows that there are,
as that of any other run does; how far other train rows would lead is what `Spread` tells. Student's
t over the folds is no interval of 95 % either, as folds are not independent of each other, and it
would be next to nothing wherever a model takes all rows for one class, of which stratified folds
have equal shares.
"""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from compress.analysis.goals import baseline_of
from compress.analysis.intervals import mcnemar_p_value
from compress.records.folds import Folds, Spread, spread
from compress.records.metrics import METRICS
from compress.records.schema import Comparison, Data, FinishedRun, RunStart

# Of a record; what else there is in one belongs to a single model.
AVERAGED = (
    "environment", "metrics", "baseline", "speedup", "comparison", "validation_comparison",
    "stage_metrics", "controls",
)  # fmt: skip
PART = "; "  # between the parts of a text
# What each fold saw for itself.
SUMMED = ("samples", "n_regressed", "n_improved", "support")
TABLE = "confusion"


def over_folds(start: RunStart, by_folder: Mapping[str, FinishedRun]) -> FinishedRun:
    """The whole run's record.

    It has no model and no history: each fold's record has its own.

    Args:
        start: what is known of the run without its folds.
        by_folder: the record of each fold by its folder, relative to the run's; two at least.
    """
    folds = list(by_folder.values())
    found = {name: average([getattr(fold, name) for fold in folds]) for name in AVERAGED}
    steps = [
        replace(stage, name=f"{folder}/{stage.name}")
        for folder, fold in by_folder.items()
        for stage in fold.stages
    ]
    baselines = [baseline_of(fold) for fold in folds]
    return FinishedRun(
        **vars(start),
        data=_data([fold.data for fold in folds]),
        stages=tuple(steps),
        measuring_seconds=sum(fold.measuring_seconds or 0.0 for fold in folds),
        folds=Folds(tuple(by_folder), _spreads(folds), _spreads(baselines)),
        **found,
    )


def average(values: Sequence[Any]) -> Any:
    """One value that stands for those of the folds, of the same kind as each of them.

    Numbers give their mean, rounded where all are whole; truths whether all are true; texts all
    that they say, each part between semicolons once; the rest goes item by item, a mapping by the
    keys that all have. None says nothing among texts and makes None of all else, and tuples of
    unequal lengths an empty one.
    """
    first = values[0]
    if any(isinstance(value, str) for value in values):
        parts = [part for value in values if value is not None for part in value.split(PART)]
        return PART.join(dict.fromkeys(parts))
    if any(value is None for value in values):
        return None
    if is_dataclass(first):
        return _merged(values)
    if isinstance(first, dict):
        keys = [key for key in first if all(key in value for value in values)]
        return {key: average([value[key] for value in values]) for key in keys}
    if isinstance(first, tuple):
        same = len({len(value) for value in values}) == 1
        return tuple(average(each) for each in zip(*values, strict=True)) if same else ()
    if isinstance(first, bool):
        return all(values)
    mean = statistics.fmean(values)
    return round(mean) if all(isinstance(value, int) for value in values) else mean


def mean_interval(
    values: Sequence[float], lows: Sequence[float], highs: Sequence[float]
) -> tuple[float, float]:
    """The interval of the mean of independent figures, out of theirs; see the module."""
    mean = statistics.fmean(values)
    below, above = (
        math.hypot(*(end - value for value, end in zip(values, ends, strict=True))) / len(values)
        for ends in (lows, highs)
    )
    return mean - below, mean + above


def _merged(values: Sequence[Any]) -> Any:
    """A dataclass out of those of the folds."""
    names = [field.name for field in fields(values[0])]
    columns = {name: [getattr(value, name) for value in values] for name in names}
    merged = {name: average(column) for name, column in columns.items()}
    for name in SUMMED:
        if name in columns and None not in columns[name]:
            merged[name] = sum(columns[name])
    if TABLE in columns:
        merged[TABLE] = _summed(columns[TABLE])
    # The ends of an interval stand behind its figure.
    for name, low, high in zip(names, names[1:], names[2:], strict=False):
        if low.split("_")[-1] == "low" and high.split("_")[-1] == "high":
            merged[low], merged[high] = mean_interval(columns[name], columns[low], columns[high])
    made = type(values[0])(**merged)
    return _compared(made, values) if isinstance(made, Comparison) else made


def _summed(tables: Sequence[tuple[tuple[int, ...], ...]]) -> tuple[tuple[int, ...], ...]:
    """Tables of counts, added up; empty if they are of unequal sizes."""
    if len({len(table) for table in tables}) > 1:
        return ()
    rows = (zip(*each, strict=True) for each in zip(*tables, strict=True))
    return tuple(tuple(map(sum, row)) for row in rows)


def _compared(merged: Comparison, folds: Sequence[Comparison]) -> Comparison:
    """With McNemar's test of all folds' rows; of other tests the folds' p-values as one.

    By Fisher's method (Statistical Methods for Research Workers, 1925, section 21.1): the more rows
    the folds evaluate apart, the less of a difference in one of them can be chance.
    """
    errors = [each.standard_error for each in folds if each.standard_error is not None]
    if len(errors) == len(folds):
        # Of a mean: folds have other evaluation rows, so their errors are independent.
        merged = replace(merged, standard_error=math.hypot(*errors) / len(folds))
    if merged.n_regressed is not None and merged.n_improved is not None:
        return replace(merged, p_value=mcnemar_p_value(merged.n_regressed, merged.n_improved))
    # Imported here: it takes a second, and config errors should not.
    from scipy.stats import combine_pvalues

    p_values = [each.p_value for each in folds]
    p_value = float(combine_pvalues(p_values, method="fisher").pvalue)
    return replace(merged, p_value=p_value, test=f"{merged.test}, folds by Fisher's method")


def _data(folds: Sequence[Data]) -> Data:
    """The rows of all folds: evaluation rows are all different, training rows are not."""
    digests = "".join(fold.digest for fold in folds)
    sources = [fold.source.split(PART) for fold in folds]
    common = [part for part in sources[0] if all(part in source for source in sources)]
    found: Data = average(folds)
    return replace(
        found,
        source=PART.join([*common, f"evaluated on each of {len(folds)} folds"]),
        evaluation=sum(fold.evaluation for fold in folds),
        digest=hashlib.sha256(digests.encode()).hexdigest()[:16],
    )


def _spreads(records: Sequence[FinishedRun]) -> dict[str, Spread]:
    """Every figure that all of the records have."""
    found = {
        name: [float(metric.read(record)) for record in records] for name, metric in METRICS.items()
    }
    return {name: spread(each) for name, each in found.items() if all(map(math.isfinite, each))}
