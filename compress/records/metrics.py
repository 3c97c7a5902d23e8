"""The figures of a record that can be objectives, columns or axes, by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from compress.config.errors import ConfigError
from compress.records.schema import FinishedRun, Generation, ModelMetrics, RunRecord
from compress.records.scores import SCORES


@dataclass(frozen=True)
class Metric:
    """A figure that can be an objective, a column or an axis.

    Attributes:
        better: which direction is better.
        meaning: in one line.
        read: takes it out of a record whose status is ok.
        foreseen: the field of a `Forecast` that has it, or the least that it can be; null if there
            is none.
        chooses: whether runs may be chosen by it; not by what is known of the test rows alone.
    """

    unit: str
    better: Literal["higher", "lower"]
    meaning: str
    read: Callable[[FinishedRun], float]
    foreseen: str | None = None
    chooses: bool = True


def _model(read: Callable[[ModelMetrics], float]) -> Callable[[FinishedRun], float]:
    return lambda record: read(record.metrics)


def _known(value: float | None) -> float:
    """NaN for a figure that could not be measured."""
    return math.nan if value is None else value


def _score(name: str) -> Callable[[FinishedRun], float]:
    """A score that not every task has; NaN for the others."""
    return _model(lambda metrics: metrics.score.by_name().get(name, math.nan))


def _generation(read: Callable[[Generation], float]) -> Callable[[FinishedRun], float]:
    """A figure of what language models write; NaN for others."""
    return _model(lambda m: math.nan if m.generation is None else read(m.generation))


def _reliability(name: str) -> Callable[[FinishedRun], float]:
    """A figure of a classifier's probabilities; NaN for others."""
    return _model(
        lambda m: math.nan if m.calibration is None else getattr(m.calibration.scaled, name)
    )


METRICS = {
    "quality": Metric(
        "depends",
        "higher",
        (
            "primary metric of the task, oriented so that higher is better: accuracy, or the mean "
            "log-likelihood per token for perplexity"
        ),
        _model(lambda m: m.score.quality),
    ),
    **{
        name: Metric(kind.unit, kind.better, kind.meaning, _score(name))
        for name, kind in SCORES.items()
    },
    "size_bytes": Metric(
        "bytes",
        "lower",
        "the files needed to run the model",
        _model(lambda m: m.size_bytes),
        foreseen="least_bytes",
    ),
    "latency_ms": Metric(
        "ms",
        "lower",
        "median time of a forward pass at the first timed shape",
        _model(lambda m: m.latency[0].median_ms),
    ),
    "text_to_label_ms": Metric(
        "ms",
        "lower",
        (
            "median time of tokenization plus that of a forward pass at the first timed shape; "
            "empty for images and language models"
        ),
        _model(lambda m: _known(m.latency[0].text_to_label_ms)),
    ),
    "speedup": Metric(
        "ratio",
        "higher",
        "the baseline's time over the model's at the first timed shape, both timed in turns",
        lambda record: record.speedup[0].ratio,
    ),
    "parameters": Metric(
        "count",
        "lower",
        "entries of all weights, shared ones counted once",
        _model(lambda m: m.parameters),
        foreseen="parameters",
    ),
    "nonzero_parameters": Metric(
        "count", "lower", "entries that are not zero", _model(lambda m: m.nonzero_parameters)
    ),
    "sparsity": Metric(
        "fraction",
        "higher",
        "fraction of zeros in the compressible weights (the Linear layers of the blocks)",
        _model(lambda m: m.sparsity),
    ),
    "model_sparsity": Metric(
        "fraction", "higher", "fraction of zeros in all weights", _model(lambda m: m.model_sparsity)
    ),
    "peak_memory_bytes": Metric(
        "bytes",
        "lower",
        "peak memory of a fresh process that runs the largest timed shape",
        _model(lambda m: _known(m.peak_memory_bytes)),
    ),
    "resident_bytes": Metric(
        "bytes",
        "lower",
        "memory of a fresh process after running the first timed shape",
        _model(lambda m: _known(m.resident_bytes)),
    ),
    "zipped_bytes": Metric(
        "bytes",
        "lower",
        "size of a zip file of the model's files",
        _model(lambda m: _known(m.zipped_bytes)),
    ),
    "bitmask_bytes": Metric(
        "bytes",
        "lower",
        (
            "size of the files with a one-bit mask and the nonzero weights only, for tensors that "
            "this makes smaller"
        ),
        _model(lambda m: _known(m.bitmask_bytes)),
    ),
    "tokens_per_second": Metric(
        "per second",
        "higher",
        "at the first timed shape; empty for images",
        _model(lambda m: _known(m.latency[0].tokens_per_second)),
    ),
    "generated_tokens_per_second": Metric(
        "per second",
        "higher",
        (
            "tokens that a language model generates after the first, at batch size 1; empty for "
            "other models"
        ),
        _generation(lambda g: g.tokens_per_second),
    ),
    "time_to_first_token_ms": Metric(
        "ms",
        "lower",
        "median time to process the prompt and generate one token",
        _generation(lambda g: g.time_to_first_token_ms),
    ),
    "agreement": Metric(
        "fraction",
        "higher",
        (
            "fraction of the evaluation rows, or of their tokens, with equal predictions of model "
            "and baseline; empty for regression"
        ),
        lambda record: _known(record.comparison.agreement),
    ),
    **{
        name: Metric(
            unit,
            "lower",
            f"{meaning}, with the temperature that was fitted on the validation rows; empty for "
            "models without classes",
            _reliability(name),
            chooses=False,
        )
        for name, unit, meaning in (
            ("nll", "nats", "mean negative log-likelihood of the right class"),
            ("brier", "squared error", "mean squared error of the probabilities, from 0 to 2"),
            ("ece", "fraction", "expected calibration error of the likeliest class, in 15 bins"),
        )
    },
}


def check_objectives(names: tuple[str, ...], scores: tuple[str, ...]) -> None:
    """Checks the objectives against the scores of the task.

    Raises:
        ConfigError: one is no metric of the run's record, or is there twice, or there is none.
    """
    unknown = [name for name in names if name not in METRICS]
    if unknown or not names:
        got = ", ".join(unknown) or "none"
        known = (name for name in METRICS if name not in SCORES or name in scores)
        allowed = ", ".join(name for name in known if METRICS[name].chooses)
        raise ConfigError(f"objectives must be among {allowed}; got {got}")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"objectives must differ, got {', '.join(twice)} twice")
    check_scores("objectives", names, scores)


def check_scores(key: str, names: Iterable[str], scores: tuple[str, ...]) -> None:
    """Checks that runs may be chosen by the figures that the setting `key` names.

    Raises:
        ConfigError: the task does not have a score, or a figure is of the test rows alone.
    """
    names = tuple(names)
    if tested := [name for name in names if name in METRICS and not METRICS[name].chooses]:
        raise ConfigError(
            f"{key} has {', '.join(tested)}, which is of the test rows, by which nothing is chosen"
        )
    absent = [name for name in names if name in SCORES and name not in scores]
    if absent:
        has = ", ".join(scores)
        raise ConfigError(
            f"{key} has {', '.join(absent)}, but the task's scores are {has}; `quality` is the "
            "first score of any task (docs/search.md)"
        )


def objective_values(record: RunRecord, names: tuple[str, ...]) -> list[float]:
    """The objectives in order; NaN for a run without figures: a sweeper's failed trial.

    Of times, only what counts; see `settled`.
    """
    if record.status != "ok":
        return [math.nan] * len(names)
    seen = settled(record)
    return [float(METRICS[name].read(seen)) for name in names]


def settled(record: FinishedRun) -> FinishedRun:
    """The record with the baseline's times wherever no difference from them was measured.

    Tokenization is the model's own: it does not depend on the forward pass.

    Who chooses a run by its times, or holds them against a bound, goes by these: a speed-up that
    does not count is none.
    """
    ours, theirs = record.metrics, record.baseline
    assert ours is not None, "only records whose status is ok bear metrics"
    assert theirs is not None
    pairs = zip(record.speedup, ours.latency, theirs.latency, strict=True)
    latency = tuple(
        mine if speed.counts else replace(other, tokenize_ms=mine.tokenize_ms)
        for speed, mine, other in pairs
    )
    writing = ours.generation
    if writing is not None and not writing.counts:
        writing = theirs.generation
    return replace(
        record,
        metrics=replace(ours, latency=latency, generation=writing),
        speedup=tuple(replace(speed, ratio=speed.counted) for speed in record.speedup),
    )
