"""All measurements of one run: the candidate and the baseline, side by side."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from compress.core.monitor import UNWATCHED, Monitor
from compress.interfaces import (
    Device,
    InferenceModel,
    Problem,
    Split,
    TaskData,
    TensorStore,
)
from compress.measure.flips import Flip, find_flips
from compress.measure.generation import measure_generation
from compress.measure.latency import (
    BASELINE,
    CANDIDATE,
    TimedModel,
    fill_shapes,
    measure_latency,
)
from compress.measure.noise import noise_floors
from compress.measure.score import predict_all, score
from compress.measure.sharing import Timed, model_graph, shared_timing
from compress.measure.size import bitmask_bytes, zipped_bytes
from compress.measure.sparsity import WeightCount, count_weights
from compress.measure.tokenization import measure_tokenization
from compress.records.probabilities import Detail
from compress.records.schema import Comparison, ModelMetrics, Score, Speedup
from compress.serve.folder import folder_bytes, model_files, read_spec

log = logging.getLogger(__name__)


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


@dataclass(frozen=True)
class Compared:
    """Candidate and baseline on one split: what was kept of their logits, and scores of it."""

    kept: tuple[Float[Tensor, "rows ..."], Float[Tensor, "rows ..."]]
    labels: Shaped[Tensor, "rows ..."]
    scores: tuple[Score, Score]
    comparison: Comparison


@dataclass(frozen=True)
class Measured:
    """Results of `measure`, with the field names of a record but for `flips`.

    Attributes:
        flips: the evaluation rows that only one of the two models has right.
    """

    metrics: ModelMetrics
    baseline: ModelMetrics
    speedup: tuple[Speedup, ...]
    comparison: Comparison
    validation_comparison: Comparison
    flips: tuple[Flip, ...] = ()

    def fields(self) -> dict[str, Any]:
        """The fields of a record."""
        return {name: value for name, value in vars(self).items() if name != "flips"}


@dataclass(frozen=True)
class MeasureContext:
    """What measurements need beside models and rows.

    Attributes:
        store: keeps the baseline's logits and zipped size, which are the same in all its runs.
        shared: the sweep's folder, for what is measured once per sweep.
        run: the run's name in the sweep.
        part: the fold of a cross-validation, or "".
        monitor: keeps others quiet while models are timed.
    """

    device: Device
    seed: int
    store: TensorStore
    shared: Path
    run: str
    part: str = ""
    monitor: Monitor = UNWATCHED


def measure(
    candidate: LoadedModel, baseline: LoadedModel, data: TaskData, ctx: MeasureContext
) -> Measured:
    """Measures the candidate beside the baseline, on text of the calibration rows.

    Scores are computed in every run. Models are timed in turns, once per sweep for each pair of
    graphs; see `compress.measure.sharing`.
    """
    problem = data.training.problem
    rows = len(data.evaluation) + len(data.training.validation)
    log.info("scoring: %s rows …", f"{rows:,}")
    batch_size = data.evaluation.fitting_batch(ctx.device.benchmark.scoring_batch)
    compared = partial(_compare, candidate, baseline, problem, batch_size, ctx.store)
    evaluated, validated = compared(data.evaluation), compared(data.training.validation)
    details = _details(problem, evaluated, validated)
    zipped = zipped_bytes(model_files(candidate.folder)), _kept_zipped_bytes(baseline, ctx.store)
    counts = [count_weights(m.model.weights(), m.compressible) for m in (candidate, baseline)]
    timed, floors = _timed((candidate, baseline), counts, data.training.calibration, ctx)
    metrics, baseline_metrics = (
        _model_metrics(
            loaded, counts[which], evaluated.scores[which], validated.scores[which], zipped[which],
            {**_speed(timed, which, ctx), **vars(details[which])},
        )
        for which, loaded in ((CANDIDATE, candidate), (BASELINE, baseline))
    )  # fmt: skip
    shapes = timed.timings.shapes
    return Measured(
        metrics=metrics,
        baseline=baseline_metrics,
        speedup=tuple(t.speedup(ctx.seed, f) for t, f in zip(shapes, floors, strict=True)),
        comparison=evaluated.comparison,
        validation_comparison=validated.comparison,
        flips=find_flips(problem, evaluated.kept, data.evaluation),
    )


def _details(problem: Problem, evaluated: Compared, validated: Compared) -> list[Detail]:
    """Of candidate and baseline; their temperatures are fitted on the validation rows."""
    return [
        problem.detail(
            evaluated.kept[which],
            evaluated.labels,
            problem.temperature(validated.kept[which], validated.labels),
        )
        for which in (CANDIDATE, BASELINE)
    ]


def _timed(
    loaded: tuple[LoadedModel, LoadedModel],
    counts: Sequence[WeightCount],
    rows: Split,
    ctx: MeasureContext,
) -> tuple[Timed, tuple[float | None, ...]]:
    """Times candidate and baseline, or finds their timing; and the noise floor at each shape."""
    device, shapes = ctx.device, ctx.device.benchmark.shapes
    candidate, baseline = loaded
    graphs = (
        model_graph(candidate.folder, subnormal=counts[CANDIDATE].subnormal),
        model_graph(baseline.folder, subnormal=counts[BASELINE].subnormal),
    )
    theirs = TimedModel(baseline.folder, fill_shapes(baseline.model, rows, shapes))
    models, folders = (candidate.model, baseline.model), (candidate.folder, baseline.folder)

    def time_both() -> Timed:
        log.info("timing: %d shapes, in turns with the teacher …", len(shapes))
        ours = TimedModel(candidate.folder, fill_shapes(candidate.model, rows, shapes))
        timings = measure_latency(ours, theirs, device, ctx.seed)
        writing = measure_generation(models, folders, rows, device, ctx.seed)
        tokenized = measure_tokenization(models, folders, rows, device)
        return Timed(ctx.run, timings, writing, tokenized)

    with ctx.monitor.quiet():
        floors = noise_floors(theirs, graphs[BASELINE], device, ctx.seed, ctx.shared)
        texts = "" if rows.max_length is None else rows.digest
        return shared_timing(graphs, texts, device, ctx.shared, ctx.part, time_both), floors


def _compare(
    candidate: LoadedModel,
    baseline: LoadedModel,
    problem: Problem,
    batch_size: int,
    store: TensorStore,
    rows: Split,
) -> Compared:
    """Scores of candidate and baseline on one split, and how their predictions compare."""
    theirs = kept_logits(baseline, problem, batch_size, store, rows)
    kept = predict_all(candidate.model, rows, batch_size, problem.kept), theirs
    scores = (
        score(kept[CANDIDATE], rows, batch_size, problem),
        score(kept[BASELINE], rows, batch_size, problem.of_baseline()),
    )
    return Compared(kept, rows.labels, scores, problem.compare(*kept, rows.labels))


def kept_logits(
    baseline: LoadedModel, problem: Problem, batch_size: int, store: TensorStore, rows: Split
) -> Float[Tensor, "rows ..."]:
    """The baseline's logits of one split, as far as scoring needs them, from the store."""
    key = {"model": baseline.digest, "rows": rows.digest, "batch_size": batch_size}
    made = store.tensors(
        "baseline_logits",
        {**key, "kept": problem.kept_version},
        lambda: {"logits": predict_all(baseline.model, rows, batch_size, problem.kept)},
    )
    return made["logits"]


def _kept_zipped_bytes(loaded: LoadedModel, store: TensorStore) -> int:
    """Zipped size of a model from the stage store, cached: large models take seconds."""
    files = model_files(loaded.folder)
    made = store.tensors(
        "zipped_bytes",
        {"model": loaded.digest},
        lambda: {"bytes": torch.tensor(zipped_bytes(files))},
    )
    return int(made["bytes"])


def _speed(timed: Timed, which: int, ctx: MeasureContext) -> dict[str, Any]:
    """The figures of a model that were timed, by their names in `ModelMetrics`."""
    memory, other = timed.timings.memory[which], timed.run if timed.run != ctx.run else None
    latencies = zip(timed.timings.latencies(which), timed.tokenized[which], strict=True)
    return {
        "latency": tuple(
            replace(each, shared_with=other, tokenize_ms=milliseconds)
            for each, milliseconds in latencies
        ),
        "peak_memory_bytes": memory.peak_bytes,
        "resident_bytes": memory.resident_bytes,
        "generation": timed.writing and timed.writing.of(which, ctx.seed),
    }


def _model_metrics(
    loaded: LoadedModel,
    count: WeightCount,
    evaluated: Score,
    validated: Score,
    zipped: int,
    speed: dict[str, Any],
) -> ModelMetrics:
    size, encoder = folder_bytes(loaded.folder), loaded.model.encoder
    return ModelMetrics(
        score=evaluated,
        validation=validated,
        layers=count.layers,
        parameters=count.total,
        nonzero_parameters=count.total - count.zeros,
        sparsity=count.sparsity,
        model_sparsity=count.zeros / count.total,
        size_bytes=size,
        runtime=read_spec(loaded.folder).runtime,
        precision=loaded.model.precision,
        tokenizer=encoder.name if speed["latency"][0].tokenize_ms is not None else None,
        tokenizer_reason=encoder.reason,
        zipped_bytes=zipped,
        bitmask_bytes=bitmask_bytes(size, loaded.model.weights(), loaded.model.packed_bits()),
        **speed,
    )
