"""All measurements of one run: the candidate and the baseline, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from compress.config.errors import UserError
from compress.core.monitor import UNWATCHED, Monitor
from compress.interfaces import (
    Device,
    ExportResult,
    InferenceModel,
    Problem,
    Split,
    TaskData,
    TensorStore,
)
from compress.measure.generation import measure_generation
from compress.measure.latency import (
    BASELINE,
    CANDIDATE,
    Memory,
    TimedModel,
    fill_shape,
    fill_shapes,
    measure_latency,
)
from compress.measure.noise import noise_floors
from compress.measure.score import predict_all, score
from compress.measure.size import bitmask_bytes, zipped_bytes
from compress.measure.sparsity import count_weights
from compress.records.schema import Comparison, Generation, Latency, ModelMetrics, Score, Speedup
from compress.store.artifact import folder_bytes, read_spec
from compress.store.manifest import model_files

RELOAD_SHAPE = (32, 32)


@dataclass(frozen=True)
class LoadedModel:
    """A model folder under measurement, reloaded from disk.

    Attributes:
        compressible: names of the weights that count as compressible.
        digest: of a model that the stage store made; "" for one that was exported since.
    """

    model: InferenceModel
    folder: Path
    compressible: set[str]
    digest: str = ""


def check_reload(exported: ExportResult, reloaded: InferenceModel, rows: Split) -> None:
    """Checks that the reloaded model has the logits of the exported model.

    Raises:
        AssertionError: it does not. That is a bug of a runtime or a format, not of the user.
        UserError: rounded activations leave too little of the model.
    """
    batch = fill_shape(reloaded, rows, *RELOAD_SHAPE)
    expected, found = (m.predict(batch).float().cpu() for m in (exported.reference, reloaded))
    if exported.rounds_activations:
        share = rounding_share(expected, found)
        if not share <= exported.tolerance:
            raise UserError(
                f"this format changes the logits by {share:.0%} of their spread, expected at most "
                f"{exported.tolerance:.0%}: the model's activations do not tolerate it; use a "
                "quantizer that rounds only weights, such as int8_weight_only"
            )
        return
    allowed = exported.tolerance * max(1.0, float(expected.abs().max()))
    worst = float((found - expected).abs().max())
    if not worst <= allowed:
        raise AssertionError(
            f"logits of the reloaded model differ by up to {worst:g}, expected at most {allowed:g}"
        )


def rounding_share(expected: Float[Tensor, "rows ..."], found: Float[Tensor, "rows ..."]) -> float:
    """RMS difference of the logits, relative to their standard deviation or 1.

    How far rounded activations take single logits depends on the model; what gives the same logits
    whatever it reads is off by 1.
    """
    spread = float((expected - expected.mean(dim=0)).square().mean().sqrt())
    return float((found - expected).square().mean().sqrt()) / max(1.0, spread)


@dataclass(frozen=True)
class Measured:
    """Results of `measure`, with the field names of a record."""

    metrics: ModelMetrics
    baseline: ModelMetrics
    speedup: tuple[Speedup, ...]
    comparison: Comparison
    validation_comparison: Comparison


def measure(
    candidate: LoadedModel,
    baseline: LoadedModel,
    data: TaskData,
    device: Device,
    seed: int,
    store: TensorStore,
    shared: Path,
    monitor: Monitor = UNWATCHED,
) -> Measured:
    """Measures the candidate beside the baseline, on text of the calibration rows.

    The baseline's logits are the same in every run that shares it, and so is its size in a zip
    file, so these are computed once and kept in the store. Times are never kept: both models are
    timed in every run, while the monitor keeps others quiet. What is measured once per sweep is
    kept in `shared`, the sweep's folder.
    """
    batch_size = data.evaluation.fitting_batch(device.benchmark.scoring_batch)
    compared = partial(_compare, candidate, baseline, data.training.problem, batch_size, store)
    scores, comparison = compared(data.evaluation)
    validations, validation_comparison = compared(data.training.validation)
    zipped = zipped_bytes(model_files(candidate.folder)), _kept_zipped_bytes(baseline, store)
    rows, shapes = data.training.calibration, device.benchmark.shapes
    ours, theirs = (
        TimedModel(loaded.folder, fill_shapes(loaded.model, rows, shapes))
        for loaded in (candidate, baseline)
    )
    with monitor.quiet():
        floors = noise_floors(theirs, device, seed, shared)
        timings = measure_latency(ours, theirs, device, seed)
        models, folders = (candidate.model, baseline.model), (candidate.folder, baseline.folder)
        written = measure_generation(models, folders, rows, device, seed)
    metrics = [
        _model_metrics(
            loaded, scores[which], validations[which], zipped[which], written[which],
            timings.memory[which], timings.latencies(which),
        )
        for which, loaded in ((CANDIDATE, candidate), (BASELINE, baseline))
    ]  # fmt: skip
    return Measured(
        metrics=metrics[CANDIDATE],
        baseline=metrics[BASELINE],
        speedup=tuple(t.speedup(seed, f) for t, f in zip(timings.shapes, floors, strict=True)),
        comparison=comparison,
        validation_comparison=validation_comparison,
    )


def _compare(
    candidate: LoadedModel,
    baseline: LoadedModel,
    problem: Problem,
    batch_size: int,
    store: TensorStore,
    rows: Split,
) -> tuple[tuple[Score, Score], Comparison]:
    """Scores of candidate and baseline on one split, and how their predictions compare."""
    key = {"model": baseline.digest, "rows": rows.digest, "batch_size": batch_size}
    kept = store.tensors(
        "baseline_logits",
        {**key, "kept": problem.kept_version},
        lambda: {"logits": predict_all(baseline.model, rows, batch_size, problem.kept)},
    )
    predictions = predict_all(candidate.model, rows, batch_size, problem.kept), kept["logits"]
    ours, theirs = (score(each, rows, batch_size, problem) for each in predictions)
    return (ours, theirs), problem.compare(*predictions, rows.labels)


def _kept_zipped_bytes(loaded: LoadedModel, store: TensorStore) -> int:
    """Zipped size of a model from the stage store, cached: large models take seconds."""
    files = model_files(loaded.folder)
    made = store.tensors(
        "zipped_bytes",
        {"model": loaded.digest},
        lambda: {"bytes": torch.tensor(zipped_bytes(files))},
    )
    return int(made["bytes"])


def _model_metrics(
    loaded: LoadedModel,
    evaluated: Score,
    validated: Score,
    zipped: int,
    generation: Generation | None,
    memory: Memory,
    latency: tuple[Latency, ...],
) -> ModelMetrics:
    count = count_weights(loaded.model.weights(), loaded.compressible)
    size = folder_bytes(loaded.folder)
    return ModelMetrics(
        score=evaluated,
        validation=validated,
        layers=count.layers,
        parameters=count.total,
        nonzero_parameters=count.total - count.zeros,
        sparsity=count.sparsity,
        model_sparsity=count.zeros / count.total,
        size_bytes=size,
        latency=latency,
        peak_memory_bytes=memory.peak_bytes,
        resident_bytes=memory.resident_bytes,
        runtime=read_spec(loaded.folder).runtime,
        precision=loaded.model.precision,
        zipped_bytes=zipped,
        generation=generation,
        bitmask_bytes=bitmask_bytes(size, loaded.model.weights(), loaded.model.packed_bits()),
    )
