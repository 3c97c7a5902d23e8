"""Latency of a forward pass, baseline and candidate interleaved.

Each model has a process of its own, and only one of the two is awake. A round is two turns each, in
the order A B B A, so that a machine that slows down evenly slows both by as much; which of the two
is A alternates. The ratio of a round is taken from its turns' lower quartiles.

Two processes that do the same differ by up to a percent for as long as they live, so the pair is
replaced by a fresh one several times: each pair is a restart.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from compress.analysis.speedup import relative_width, speedup_interval
from compress.core.benchmark import Benchmark
from compress.interfaces import Device, InferenceModel, Split
from compress.measure.timed import Inputs
from compress.measure.worker import Pair, open_pair
from compress.records.schema import Latency, Speedup

CANDIDATE, BASELINE = 0, 1
BLOCK_SECONDS = 0.03  # one turn: long against the clock, short against a busy spell
MAX_BLOCK = 20
# In all restarts together. With fewer the bootstrap knows too little: of 100 simulated intervals 85
# to 90 covered the truth with 6 rounds in 3 restarts, 96 to 98 with 9.
MIN_ROUNDS = 9
CHECK_ROUNDS = 5  # of a restart, before its interval is worth looking at, and between looks
WARM_UP_SECONDS = 1.0
BRIEF_SECONDS = 0.3  # at each shape, beside the rounds asked for
QUANTILES = np.linspace(0, 1, 21)  # what a box or a violin is drawn of
TAIL_SAMPLES = 10  # a percentile needs this many samples beyond it


@dataclass(frozen=True)
class TimedModel:
    """A model folder, and the batches that it is timed on: one for every shape."""

    folder: Path
    inputs: tuple[Inputs, ...]


@dataclass(frozen=True)
class Timing:
    """Timings of both models at one shape.

    Attributes:
        times_ms: of every pass, the candidate's and the baseline's.
        restarts: of each, the logarithms of its rounds' speed-ups.
    """

    batch: int
    length: int
    times_ms: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    restarts: list[list[float]] = field(default_factory=list)

    def interval(self, seed: int) -> tuple[float, float, float]:
        """The speed-up and its 95 % interval."""
        return speedup_interval([np.array(rounds) for rounds in self.restarts], seed)

    def speedup(self, seed: int, floor: float | None) -> Speedup:
        """The speed-up, with the noise floor if known."""
        return Speedup(self.batch, self.length, *self.interval(seed), floor)


@dataclass(frozen=True)
class Memory:
    """Memory of a model in bytes; None if the system does not report it.

    Attributes:
        resident_bytes: when it has run the first shape.
        peak_bytes: at most, while it runs the largest shape.
    """

    resident_bytes: int | None
    peak_bytes: int | None


@dataclass(frozen=True)
class Timings:
    """Latency at each shape, and memory, of candidate and baseline.

    Attributes:
        text: whether the models read tokens, and no images.
    """

    shapes: tuple[Timing, ...]
    memory: tuple[Memory, Memory]
    text: bool

    def latencies(self, which: int) -> tuple[Latency, ...]:
        """Latencies of the candidate (0) or the baseline (1)."""
        return tuple(
            summarize(timing.times_ms[which], timing.batch, timing.length, text=self.text)
            for timing in self.shapes
        )


def measure_briefly(
    candidate: TimedModel, baseline: TimedModel, device: Device, seed: int, rounds: int
) -> tuple[Timing, ...]:
    """Latency of both models at every shape of the device's benchmark, in one process restart.

    For fits over many models: of one of them, a difference between two processes that do the same
    is not averaged out.

    Args:
        candidate: the model.
        baseline: what it is timed in turns with.
        device: whose benchmark has the shapes.
        seed: of the intervals.
        rounds: at each shape.

    Raises:
        UserError: a model cannot be loaded.
        WorkerError: the process of one failed or died.
    """
    benchmark = replace(device.benchmark, seconds=BRIEF_SECONDS, process_restarts=1)
    timings = tuple(Timing(*shape) for shape in benchmark.shapes)
    with open_pair((candidate.folder, baseline.folder), device) as pair:
        for timing, *inputs in zip(timings, candidate.inputs, baseline.inputs, strict=True):
            _time_in_turns(pair, inputs, benchmark, seed, timing, rounds)
    return timings


def measure_latency(
    candidate: TimedModel, baseline: TimedModel, device: Device, seed: int
) -> Timings:
    """Measures latency at every shape of the device's benchmark, and memory, of both models.

    Raises:
        UserError: a model cannot be loaded.
        WorkerError: the process of one failed or died.
    """
    benchmark, models = device.benchmark, (candidate, baseline)
    timings = tuple(Timing(*shape) for shape in benchmark.shapes)
    folders = (candidate.folder, baseline.folder)
    least = math.ceil(MIN_ROUNDS / benchmark.process_restarts)
    resident: list[int | None] = []
    peak: list[int | None] = []
    for _ in range(benchmark.process_restarts):
        with open_pair(folders, device) as pair:
            if not resident:
                resident = [pair.wake(w).resident_memory(models[w].inputs[0]) for w in (0, 1)]
            for timing, *inputs in zip(timings, *(c.inputs for c in models), strict=True):
                _time_in_turns(pair, inputs, benchmark, seed, timing, least)
            if not peak:
                peak = [pair.wake(w).peak_memory(_largest(models[w].inputs)) for w in (0, 1)]
    text = "input_ids" in baseline.inputs[0]
    return Timings(timings, (Memory(resident[0], peak[0]), Memory(resident[1], peak[1])), text)


def fill_shapes(
    model: InferenceModel, rows: Split, shapes: Sequence[tuple[int, int]]
) -> tuple[Inputs, ...]:
    """A batch of each shape, as numpy arrays for a worker."""
    batches = [fill_shape(model, rows, *shape) for shape in shapes]
    return tuple({name: t.numpy() for name, t in batch.items()} for batch in batches)


def fill_shape(model: InferenceModel, rows: Split, batch: int, length: int) -> dict[str, Tensor]:
    """Real text of exactly this shape: the concatenated tokens of the rows, no padding.

    Images are as long as their size makes them: `batch` of them, the rows in turns.
    """
    encoded = rows.encode(model.tokenizer).remove_columns("length")
    if "input_ids" not in encoded.column_names:
        return rows.collate(model.tokenizer, [encoded[i % len(encoded)] for i in range(batch)])
    start, end = encoded[0]["input_ids"][0], encoded[0]["input_ids"][-1]
    stream = [token for ids in encoded["input_ids"] for token in ids[1:-1]]
    inner = length - 2
    repeated = stream * (batch * inner // max(len(stream), 1) + 1)
    ids = [[start, *repeated[i * inner : (i + 1) * inner], end] for i in range(batch)]
    filled = {"input_ids": torch.tensor(ids)}
    for name in encoded.column_names:
        # Masks are all ones and segment ids all zeros where there is one unpadded text.
        if name == "attention_mask":
            filled[name] = torch.ones(batch, length, dtype=torch.long)
        elif name == "token_type_ids":
            filled[name] = torch.zeros(batch, length, dtype=torch.long)
    return filled


def summarize(times_ms: Sequence[float], batch: int, length: int, *, text: bool) -> Latency:
    """Median, interquartile range, and the percentiles that the sample size supports."""
    flat = np.array(times_ms)
    lower, median, upper = (float(q) for q in np.percentile(flat, [25, 50, 75]))
    per_second = 1000 * batch / median
    return Latency(
        batch=batch,
        length=length,
        samples=flat.size,
        median_ms=median,
        iqr_ms=upper - lower,
        p95_ms=tail_percentile(flat, 0.95),
        p99_ms=tail_percentile(flat, 0.99),
        samples_per_second=per_second,
        tokens_per_second=per_second * length if text else None,
        quantiles_ms=tuple(map(float, np.quantile(flat, QUANTILES))),
    )


def tail_percentile(values: Float[np.ndarray, " n"], p: float) -> float | None:
    """The p-quantile; None unless at least 10 samples are expected beyond it."""
    if values.size * (1 - p) < TAIL_SAMPLES - 1e-9:
        return None
    return float(np.quantile(values, p))


def _time_in_turns(
    pair: Pair,
    inputs: Sequence[Inputs],
    benchmark: Benchmark,
    seed: int,
    timing: Timing,
    least: int,
) -> None:
    """One process restart at one shape: `least` rounds, more until they agree or time is up."""
    share = benchmark.seconds / benchmark.process_restarts
    block_ms = 1000 * min(BLOCK_SECONDS, share / 10)
    passes = []
    for which in (CANDIDATE, BASELINE):
        one_ms = pair.wake(which).prepare(inputs[which], min(WARM_UP_SECONDS, share))
        passes.append(max(1, min(MAX_BLOCK, round(block_ms / one_ms))))
    rounds: list[float] = []
    timing.restarts.append(rounds)
    deadline = time.perf_counter() + share
    while len(rounds) < least or (
        time.perf_counter() < deadline and not _agree(rounds, benchmark.target_ci_width, seed)
    ):
        rounds.append(_time_round(pair, passes, len(rounds) % 2, timing))


def _time_round(pair: Pair, passes: Sequence[int], outer: int, timing: Timing) -> float:
    """One round in the order A B B A, A being `outer`; returns the log speed-up."""
    inner = 1 - outer
    first = pair.wake(outer).time_block(passes[outer])
    middle = pair.wake(inner).time_block(2 * passes[inner])
    last = pair.wake(outer).time_block(passes[outer])
    timing.times_ms[outer].extend(first + last)
    timing.times_ms[inner].extend(middle)
    blocks = {outer: (first, last), inner: (middle[: passes[inner]], middle[passes[inner] :])}
    log_ms = {w: np.mean([_log_quick(block) for block in turns]) for w, turns in blocks.items()}
    return float(log_ms[BASELINE] - log_ms[CANDIDATE])


def _log_quick(block: Sequence[float]) -> float:
    """Log of a block's lower quartile: disturbances only ever add time."""
    return math.log(np.percentile(block, 25))


def _agree(rounds: list[float], width: float, seed: int) -> bool:
    """Whether a restart's own interval is narrow enough; checked periodically."""
    if not rounds or len(rounds) % CHECK_ROUNDS:
        return False
    return relative_width(speedup_interval([np.array(rounds)], seed)) <= width


def _largest(inputs: Sequence[Inputs]) -> Inputs:
    return max(inputs, key=lambda batch: max(values.size for values in batch.values()))
