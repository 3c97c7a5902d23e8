"""What the parts of a record imply about each other: what its schema alone cannot say."""

from __future__ import annotations

import datetime
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from compress.records.scores import SCORES

if TYPE_CHECKING:
    from compress.records.folds import Folds
    from compress.records.schema import (
        Comparison,
        Control,
        FinishedRun,
        Latency,
        ModelMetrics,
        RunRecord,
        Score,
        Speedup,
    )

CHOICES = ("teacher", "task")  # that every run has


def faults(record: RunRecord) -> Iterator[str]:
    """Every contradiction in a record whose values fit the schema."""
    if not _is_time(record.started):
        yield f"started is not a time: {record.started[:40]!r}"
    if record.status == "ok":
        yield from _of_success(record)


def _of_success(record: FinishedRun) -> Iterator[str]:
    yield from _of_history(record.history)
    missing = [] if record.speedup else ["speedup"]
    if record.baseline_model is None and record.folds is None:
        missing.append("baseline_model")
    missing += [f"choices.{name}" for name in CHOICES if name not in record.choices]
    if missing:
        yield f"status is ok, but {', '.join(missing)} is missing"
        return
    yield from _of_models("", record.metrics, record.baseline, record.speedup)
    yield from _of_comparison("comparison", record.comparison)
    yield from _of_comparison("validation_comparison", record.validation_comparison)
    yield from _of_metrics("baseline", record.baseline)
    for place, stage in enumerate(record.stage_metrics):
        where = f"stage_metrics.{place}."
        yield from _of_models(where, stage.metrics, record.baseline, stage.speedup)
    if record.folds is not None:
        yield from _of_folds(record.folds)
    for place, control in enumerate(record.controls):
        yield from _of_control(f"controls.{place}", control, record.baseline)


def _of_comparison(where: str, found: Comparison | None) -> Iterator[str]:
    """Of a comparison: how sure it is can be told."""
    if found is None or found.standard_error is not None:
        return
    if found.n_regressed is None or found.n_improved is None:
        yield f"{where} has neither counts of rows nor a standard_error"


def _of_control(where: str, control: Control, baseline: ModelMetrics) -> Iterator[str]:
    """Of a control beside the baseline: it is whole, or says why there is none."""
    ours = control.metrics
    if (ours is None) != (control.comparison is None) or (ours is None) != bool(control.absent):
        yield f"{where} must have metrics with a comparison, or say why it is absent"
    if ours is None:
        return
    if ours.latency or control.speedup:
        yield from _of_models(f"{where}.", ours, baseline, control.speedup)
    else:
        yield from _of_metrics(f"{where}.metrics", ours)
        yield from _of_scores(f"{where}.", ours, baseline)


def _of_models(
    where: str, ours: ModelMetrics, theirs: ModelMetrics, speeds: Sequence[Speedup]
) -> Iterator[str]:
    """Of a model beside its baseline; `where` is a prefix of its place in the record."""
    yield from _of_metrics(f"{where}metrics", ours)
    timed = [_shapes(each) for each in (ours.latency, theirs.latency, speeds)]
    if not timed[0] or len(set(timed[0])) < len(timed[0]):
        yield f"{where}metrics.latency has no shape, or one twice"
    elif any(shapes != timed[0] for shapes in timed):
        yield f"{where}metrics.latency, baseline.latency and {where}speedup are of other shapes"
    if (ours.tokenizer is None) != (theirs.tokenizer is None):
        yield f"only one of {where}metrics and baseline has a tokenizer"
    yield from _of_scores(where, ours, theirs)
    for place, speed in enumerate(speeds):
        if not speed.low <= speed.ratio <= speed.high:
            yield f"{where}speedup.{place} is outside its interval"


def _of_scores(where: str, ours: ModelMetrics, theirs: ModelMetrics) -> Iterator[str]:
    """Of the scores of a model and its baseline, which are of the same kind and splits."""
    if ours.score.metric != theirs.score.metric:
        yield f"{where}metrics.score is of {ours.score.metric}, baseline.score is not"
    for name, model in ((f"{where}metrics", ours), ("baseline", theirs)):
        if model.validation is not None and model.validation.metric != model.score.metric:
            yield f"{name}.validation is of another metric than {name}.score"
    if (ours.validation is None) != (theirs.validation is None):
        yield f"only one of {where}metrics and baseline has a validation score"


def _shapes(timed: Sequence[Latency] | Sequence[Speedup]) -> list[tuple[int, int]]:
    return [(each.batch, each.length) for each in timed]


def _of_metrics(where: str, model: ModelMetrics) -> Iterator[str]:
    yield from _of_score(f"{where}.score", model.score)
    if model.validation is not None:
        yield from _of_score(f"{where}.validation", model.validation)
    if model.nonzero_parameters > model.parameters:
        yield f"{where} has more nonzero_parameters than parameters"
    for place, weight in enumerate(model.layers):
        if weight.zeros > math.prod(weight.shape):
            yield f"{where}.layers.{place} has more zeros than entries"
    for place, timed in enumerate(model.latency):
        if any(later < first for first, later in itertools.pairwise(timed.quantiles_ms)):
            yield f"{where}.latency.{place}.quantiles_ms do not rise"
        if (timed.tokenize_ms is None) != (model.tokenizer is None):
            yield f"{where} has only one of tokenizer and latency.{place}.tokenize_ms"
    writing = model.generation
    if writing is not None:
        ends = (writing.speedup_low, writing.speedup, writing.speedup_high)
        known = [end for end in ends if end is not None]
        if len(known) not in (0, len(ends)) or known != sorted(known):
            yield f"{where}.generation.speedup is outside its interval, or has none"


def _of_score(where: str, score: Score) -> Iterator[str]:
    if score.metric not in SCORES:
        yield f"{where}.metric is unknown: {score.metric[:40]!r}; known: {', '.join(SCORES)}"
        return
    named = {"value": score.value, "low": score.low, "high": score.high}
    for name, value in named.items():
        if not _is_possible(score.metric, value):
            yield f"{where}.{name} cannot be {value} of {score.metric}"
    # The interval of a bootstrap need not hold the value.
    if score.low > score.high:
        yield f"{where}.low is above its high"
    for name, value in score.others.items():
        if name in SCORES and not _is_possible(name, value):
            yield f"{where}.others.{name} cannot be {value}"


def _is_possible(metric: str, value: float) -> bool:
    low, high = SCORES[metric].range
    return low <= value <= high


def _of_folds(folds: Folds) -> Iterator[str]:
    count = len(folds.folders)
    if not count:
        yield "folds.folders is empty"
    for place in ("figures", "baseline"):
        for name, spread in getattr(folds, place).items():
            if len(spread.values) != count:
                yield f"folds.{place}.{name[:40]} has {len(spread.values)} values of {count} folds"


def _of_history(history: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for place, step in enumerate(history):
        if not isinstance(step.get("stage"), str):
            yield f"history.{place} has no stage"
        for name in ("settings", "notes", "expected_zeros"):
            if not isinstance(step.get(name) or {}, Mapping):
                yield f"history.{place}.{name} is not a mapping"


def _is_time(text: str) -> bool:
    try:
        datetime.datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
