"""Records with what older ones lack, made up for drawings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from compress.records.schema import (
    Comparison,
    FinishedRun,
    LayerWeights,
    ModelMetrics,
    Speedup,
    StageMetrics,
)
from compress.report.sections import Section, sections
from tests.records.test_schema import make_metrics, make_record

# What none of a page's drawings may take for markup, a format or a formula.
HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)> $$\\frac12$$ @run{safe} &lt;"
)
PATHS = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
)


def section_of(*records: FinishedRun) -> Section:
    """The runs in folders 0, 1, 2, …"""
    [section] = sections((Path(str(number)), record) for number, record in enumerate(records))
    return section


def speedup(ratio: float) -> Speedup:
    return Speedup(1, 32, ratio, 0.9 * ratio, 1.1 * ratio, 1.02)


def with_stages(record: FinishedRun, *stages: str) -> FinishedRun:
    """The record with a model measured after each stage, each smaller and faster than the last."""
    return replace(
        record,
        stage_metrics=tuple(
            StageMetrics(
                stage,
                make_metrics(0.91 - 0.01 * step, 2000 - 200 * step, 10 / (1 + 0.2 * step)),
                (speedup(1 + 0.2 * step),),
                Comparison(0.95, 3, 2, 1.0),
            )
            for step, stage in enumerate(stages, start=1)
        ),
    )


def with_quantiles(record: FinishedRun, ms: float, baseline_ms: float = 10.0) -> FinishedRun:
    """The record with times spread evenly from the median's 0.9 to its 1.1."""

    def spread(metrics: ModelMetrics, median: float) -> ModelMetrics:
        quantiles = tuple((median * np.linspace(0.9, 1.1, 21)).tolist())
        latency = tuple(replace(each, quantiles_ms=quantiles) for each in metrics.latency)
        return replace(metrics, latency=latency)

    return replace(
        record, metrics=spread(record.metrics, ms), baseline=spread(record.baseline, baseline_ms)
    )


def curve(start: float = 0.7) -> list[dict[str, Any]]:
    """Losses that fall, the validation's at every fifth point."""
    return [
        {
            "step": 10 * i,
            "epoch": i / 10,
            "loss": start * 0.95**i,
            "validation_loss": start * 0.96**i + 0.1 if i % 5 == 0 else None,
        }
        for i in range(1, 21)
    ]


def trained(stage: str, points: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A step of a history."""
    return {"stage": stage, "settings": {}, "notes": {"curve": list(points)}}


def bert_layers(
    width: int = 8, *, zeros: float = 0.0, neurons: int = 32, heads: int = 8
) -> tuple[LayerWeights, ...]:
    """The compressible weights of a BERT of two layers.

    Args:
        width: of the residual stream.
        zeros: share of each weight that is zero.
        neurons: of the feed-forward.
        heads: rows of the queries, keys and values together.
    """
    shapes = [(heads, width)] * 3 + [(width, heads), (neurons, width), (width, neurons)]
    return tuple(
        LayerWeights(f"bert.encoder.layer.{i}.{path}.weight", shape, int(zeros * np.prod(shape)))
        for i in range(2)
        for path, shape in zip(PATHS, shapes, strict=True)
    )


def with_layers(
    record: FinishedRun, ours: Sequence[LayerWeights], theirs: Sequence[LayerWeights] = ()
) -> FinishedRun:
    return replace(
        record,
        metrics=replace(record.metrics, layers=tuple(ours)),
        baseline=replace(record.baseline, layers=tuple(theirs or bert_layers())),
    )


def plain(accuracy: float = 0.9, size: int = 1000, ratio: float = 2.0, **changes: Any):  # type: ignore[no-untyped-def]
    """A run whose speed-up is set by itself."""
    return make_record(accuracy, size, speedup=(speedup(ratio),), **changes)
