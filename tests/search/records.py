"""Records with figures that were made up, for tests of what is done with them.

The jobs of searches in tests make some, in many processes: nothing that is slow to import here.
"""

from __future__ import annotations

import math
from dataclasses import replace

from omegaconf import OmegaConf

from compress.job import blank_record
from compress.records.schema import (
    Comparison,
    Data,
    Environment,
    FinishedRun,
    Latency,
    ModelMetrics,
    Score,
    Speedup,
)


def record_of(
    *,
    accuracy: float = 0.8,
    validation: float = 0.8,
    size: int = 100,
    speedup: float = 1.0,
    overrides: tuple[str, ...] = (),
    metric: str = "accuracy",
    baseline: float = 0.8,
) -> FinishedRun:
    """A run that succeeded; its baseline has 0.8 accuracy on both splits and 100 bytes."""
    config, choices = OmegaConf.create({"seed": 0}), {"teacher": "t", "task": "rows"}
    made = FinishedRun(
        **vars(blank_record(config, choices, overrides)),
        baseline_model="../baseline",
        environment=Environment("a machine", "cpu, 1 thread", None, {}),
        data=Data("rows", 10, 10, 100, "digest"),
        comparison=Comparison(1.0, 0, 0, 1.0),
        metrics=_metrics(accuracy, validation, size, 10.0 / speedup),
        baseline=_metrics(0.8, 0.8, 100, 10.0),
        speedup=(Speedup(1, 8, speedup, speedup, speedup),),
    )
    values = {"metrics": (accuracy, validation), "baseline": (baseline, baseline)}
    judged = {part: _judged(getattr(made, part), metric, *both) for part, both in values.items()}
    return replace(made, **judged)


def _judged(metrics: ModelMetrics, metric: str, value: float, validation: float) -> ModelMetrics:
    """By a score of another name."""
    return replace(
        metrics,
        score=replace(_score(value, "evaluation"), metric=metric),
        validation=replace(_score(validation, "validation"), metric=metric),
    )


def _metrics(accuracy: float, validation: float, size: int, latency_ms: float) -> ModelMetrics:
    return ModelMetrics(
        score=_score(accuracy, "evaluation"),
        validation=_score(validation, "validation"),
        parameters=10,
        nonzero_parameters=10,
        sparsity=0.0,
        model_sparsity=0.0,
        size_bytes=size,
        latency=(Latency(1, 8, 100, latency_ms, 0.1, None, None, 1000 / latency_ms),),
        peak_memory_bytes=None,
    )


def _score(accuracy: float, split: str) -> Score:
    most = 1.0 if accuracy <= 1 else math.inf  # of a share, or of a perplexity
    low, high = max(0.0, accuracy - 0.02), min(most, accuracy + 0.02)
    return Score("accuracy", accuracy, low, high, 100, 8, split)
