"""All measurements of one run: the candidate and the baseline, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from compress.artifact import folder_bytes
from compress.interfaces import Device, Runnable, Split, TrainingData
from compress.measure.latency import fill_shape, measure_latency
from compress.measure.memory import peak_memory
from compress.measure.score import predict_all, score
from compress.measure.sparsity import count_weights
from compress.records import Latency, ModelMetrics, Speedup

# The reloaded model runs the same operators on the same numbers; this allows for another order
# of summation in the processor's kernels and nothing more.
RELOAD_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Subject:
    """A model folder under measurement.

    Attributes:
        compressible: names of the weights that count as compressible.
    """

    model: Runnable
    folder: Path
    compressible: set[str]


def check_reload(exported: Runnable, reloaded: Runnable, rows: Split, batch_size: int) -> None:
    """Checks that what was read back from disk gives the logits of what was written.

    Raises:
        AssertionError: it does not. That is a bug of a runtime or a format, not of the user.
    """
    pair = [predict_all(model, rows, batch_size) for model in (exported, reloaded)]
    worst = float((pair[0] - pair[1]).abs().max())
    if not worst <= RELOAD_TOLERANCE:
        raise AssertionError(f"logits of the reloaded model are off by up to {worst:g}")


def measure(
    candidate: Subject,
    baseline: Subject,
    evaluation: Split,
    training: TrainingData,
    device: Device,
    seed: int,
) -> tuple[ModelMetrics, ModelMetrics, tuple[Speedup, ...]]:
    """Metrics of the candidate and of the baseline, and the speed-ups between them.

    Args:
        candidate: reloaded from disk.
        baseline: likewise.
        evaluation: the rows that no stage has seen.
        training: its train rows give the text that is timed.
        device: what to time on, and which shapes.
        seed: of the bootstrap.
    """
    ours, theirs, speedups = measure_latency(
        candidate.model, baseline.model, training.calibration, device.benchmark, seed
    )
    figures = [
        _model_metrics(subject, latency, evaluation, training, device)
        for subject, latency in ((candidate, ours), (baseline, theirs))
    ]
    return figures[0], figures[1], speedups


def _model_metrics(
    subject: Subject,
    latency: tuple[Latency, ...],
    evaluation: Split,
    training: TrainingData,
    device: Device,
) -> ModelMetrics:
    count = count_weights(subject.model.weights(), subject.compressible)
    largest = max(device.benchmark.shapes, key=lambda shape: shape[0] * shape[1])
    inputs = fill_shape(subject.model, training.calibration, *largest)
    return ModelMetrics(
        score=score(subject.model, evaluation, device.benchmark.scoring_batch),
        parameters=count.total,
        nonzero_parameters=count.total - count.zeros,
        sparsity=count.compressible_zeros / count.compressible,
        model_sparsity=count.zeros / count.total,
        size_bytes=folder_bytes(subject.folder),
        latency=latency,
        peak_memory_bytes=peak_memory(subject.model, inputs),
    )
