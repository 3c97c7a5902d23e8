"""Figures of a record by flat names: what every tracker is given of it."""

from __future__ import annotations

import math

from compress.records.metrics import METRICS
from compress.records.schema import FinishedRun, RunRecord


def figures(record: RunRecord) -> dict[str, float]:
    """The figures by name: every metric, and times and speed-ups of each timed shape.

    Those of a shape are called "1x32/latency_ms", the standard deviation over the folds of a run
    that has some "accuracy_sd". What was not measured is left out; a run that did not succeed has
    only its `seconds`.
    """
    found = {"seconds": record.seconds}
    if isinstance(record, FinishedRun):
        found |= {name: float(metric.read(record)) for name, metric in METRICS.items()}
        for each in record.metrics.latency:
            found[f"{each.batch}x{each.length}/latency_ms"] = each.median_ms
            if each.tokenize_ms is not None:
                found[f"{each.batch}x{each.length}/tokenize_ms"] = each.tokenize_ms
        for speed in record.speedup:
            shape = f"{speed.batch}x{speed.length}"
            found[f"{shape}/speedup"] = speed.ratio
            found[f"{shape}/speedup_low"], found[f"{shape}/speedup_high"] = speed.low, speed.high
        if record.folds is not None:
            found |= {f"{name}_sd": each.sd for name, each in record.folds.figures.items()}
    return {name: value for name, value in found.items() if math.isfinite(value)}
