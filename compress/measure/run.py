"""All measurements of one run: the candidate and the baseline, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from compress.artifact import folder_bytes
from compress.interfaces import Device, Exported, Runnable, Split, TensorStore, TrainingData
from compress.measure.latency import fill_shape, measure_latency
from compress.measure.memory import peak_memory
from compress.measure.score import predict_all, score
from compress.measure.sparsity import count_weights
from compress.records import Latency, ModelMetrics, Score, Speedup

RELOAD_SHAPE = (32, 32)


@dataclass(frozen=True)
class Subject:
    """A model folder under measurement, reloaded from disk.

    Attributes:
        compressible: names of the weights that count as compressible.
        digest: of a model that the stage store made; "" for one that was exported since.
    """

    model: Runnable
    folder: Path
    compressible: set[str]
    digest: str = ""


def check_reload(exported: Exported, reloaded: Runnable, rows: Split) -> None:
    """Checks that what was read back from disk gives the logits of what was written.

    Raises:
        AssertionError: it does not. That is a bug of a runtime or a format, not of the user.
    """
    batch = fill_shape(reloaded, rows, *RELOAD_SHAPE)
    expected, found = (m.predict(batch).float().cpu() for m in (exported.reference, reloaded))
    allowed = exported.tolerance * max(1.0, float(expected.abs().max()))
    worst = float((found - expected).abs().max())
    if not worst <= allowed:
        raise AssertionError(
            f"logits of the reloaded model are off by up to {worst:g}, allowed are {allowed:g}"
        )


def measure(
    candidate: Subject,
    baseline: Subject,
    evaluation: Split,
    training: TrainingData,
    device: Device,
    seed: int,
    store: TensorStore,
    shared: Path,
) -> tuple[ModelMetrics, ModelMetrics, tuple[Speedup, ...]]:
    """Metrics of the candidate and of the baseline, and the speed-ups between them.

    The baseline's logits are the same in every run that shares it, so they are computed once and
    kept in the store. Times are never kept: both models are timed in every run.

    Args:
        candidate: what the run made.
        baseline: the teacher.
        evaluation: the rows that no stage has seen.
        training: its train rows give the text that is timed.
        device: what to time on, and which shapes.
        seed: of the bootstrap.
        store: where the baseline's logits are kept.
        shared: the folder of the sweep, for what is measured once per sweep.
    """
    batch_size = device.benchmark.scoring_batch
    key = {"model": baseline.digest, "rows": evaluation.digest, "batch_size": batch_size}
    kept = store.tensors(
        "baseline_logits",
        key,
        lambda: {"logits": predict_all(baseline.model, evaluation, batch_size)},
    )
    logits = predict_all(candidate.model, evaluation, batch_size), kept["logits"]
    ours, theirs, speedups = measure_latency(
        candidate.model, baseline.model, training.calibration, device.benchmark, seed
    )
    scores = [score(each, evaluation, batch_size) for each in logits]
    rows, shapes = training.calibration, device.benchmark.shapes
    metrics = _model_metrics(candidate, scores[0], ours, rows, shapes)
    baseline_metrics = _model_metrics(baseline, scores[1], theirs, rows, shapes)
    return metrics, baseline_metrics, speedups


def _model_metrics(
    subject: Subject,
    quality: Score,
    latency: tuple[Latency, ...],
    rows: Split,
    shapes: tuple[tuple[int, int], ...],
) -> ModelMetrics:
    count = count_weights(subject.model.weights(), subject.compressible)
    largest = max(shapes, key=lambda shape: shape[0] * shape[1])
    inputs = fill_shape(subject.model, rows, *largest)
    return ModelMetrics(
        score=quality,
        parameters=count.total,
        nonzero_parameters=count.total - count.zeros,
        sparsity=count.compressible_zeros / count.compressible,
        model_sparsity=count.zeros / count.total,
        size_bytes=folder_bytes(subject.folder),
        latency=latency,
        peak_memory_bytes=peak_memory(subject.model, inputs),
    )
