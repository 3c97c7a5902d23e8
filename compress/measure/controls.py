"""Measurement of a model without a folder: predictions and a size, no times and no memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from compress.interfaces import Split, TaskData
from compress.measure.run import LoadedModel, MeasureContext, kept_logits
from compress.measure.score import score
from compress.records.schema import Comparison, ModelMetrics, Score


@dataclass(frozen=True)
class Predictor:
    """A model without a folder, so that it is not timed as models are.

    Attributes:
        predict: logits of each row of a split.
        arrays: all numbers that it computes with, float32, by name.
        size_bytes: of these and of what else it needs.
        runtime: what computes.
    """

    predict: Callable[[Split], Float[Tensor, "rows ..."]]
    arrays: Mapping[str, Float[np.ndarray, ...]]
    size_bytes: int
    runtime: str


def measure_predictor(
    predictor: Predictor, baseline: LoadedModel, data: TaskData, how: MeasureContext
) -> dict[str, Any]:
    """Scores predictions as a run's model is scored, and compares them with the baseline's.

    Returns:
        `metrics`, `comparison` and `validation_comparison` of a `Control`.
    """
    problem = data.training.problem
    batch_size = data.evaluation.fitting_batch(how.device.benchmark.scoring_batch)

    def scored(rows: Split) -> tuple[Score, Comparison]:
        theirs = kept_logits(baseline, problem, batch_size, how.store, rows)
        ours = predictor.predict(rows)
        return score(ours, rows, len(rows), problem), problem.compare(ours, theirs, rows.labels)

    evaluated, comparison = scored(data.evaluation)
    validated, validation_comparison = scored(data.training.validation)
    total = sum(array.size for array in predictor.arrays.values())
    nonzero = sum(int(np.count_nonzero(array)) for array in predictor.arrays.values())
    metrics = ModelMetrics(
        score=evaluated,
        validation=validated,
        parameters=total,
        nonzero_parameters=nonzero,
        sparsity=0.0,  # of the blocks of a transformer, of which there are none
        model_sparsity=1 - nonzero / total,
        size_bytes=predictor.size_bytes,
        latency=(),
        peak_memory_bytes=None,
        runtime=predictor.runtime,
        precision="float32",
    )
    return {
        "metrics": metrics,
        "comparison": comparison,
        "validation_comparison": validation_comparison,
    }
