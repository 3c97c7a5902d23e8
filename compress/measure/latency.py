"""Time of one forward pass, baseline and candidate in turns.

Both are warmed up, then timed in short blocks that alternate, so that whatever slows the machine
down for a while slows both. Which of the two begins a round alternates as well. The garbage
collector is off while the clock runs. The interval of the speed-up comes from resampling rounds.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from compress.interfaces import Runnable, Split
from compress.measure.benchmark import Benchmark
from compress.records import Latency, Speedup

BLOCK_SECONDS = 0.02  # one model's turn: long against the clock, short against a busy spell
MAX_BLOCK = 10
MIN_ROUNDS = 5
MIN_WARMUP = 2
RESAMPLES = 2000
TAIL_SAMPLES = 10  # a percentile needs this many samples beyond it

Batch = Mapping[str, Int[Tensor, "B L"]]


@dataclass(frozen=True)
class Timing:
    """Milliseconds of both models at one shape: [rounds, passes in a block]."""

    candidate: Float[np.ndarray, "rounds passes_candidate"]
    baseline: Float[np.ndarray, "rounds passes_baseline"]


def measure_latency(
    candidate: Runnable, baseline: Runnable, rows: Split, benchmark: Benchmark, seed: int
) -> tuple[tuple[Latency, ...], tuple[Latency, ...], tuple[Speedup, ...]]:
    """Times both models at every shape of the benchmark.

    Returns:
        The candidate's latencies, the baseline's, and the speed-ups, one of each per shape.
    """
    timings = []
    with _collector_off():
        for shape in benchmark.shapes:
            inputs, other = (fill_shape(model, rows, *shape) for model in (candidate, baseline))
            timings.append(_time_in_turns(candidate, inputs, baseline, other, benchmark.seconds))
    ours, theirs, speedups = [], [], []
    for (batch, length), timing in zip(benchmark.shapes, timings, strict=True):
        ours.append(summarize(timing.candidate, batch, length))
        theirs.append(summarize(timing.baseline, batch, length))
        ratio, low, high = speedup_interval(timing, seed)
        speedups.append(Speedup(batch=batch, length=length, ratio=ratio, low=low, high=high))
    return tuple(ours), tuple(theirs), tuple(speedups)


def fill_shape(model: Runnable, rows: Split, batch: int, length: int) -> dict[str, Tensor]:
    """Real text of exactly this shape: the rows' tokens one after the other, no padding."""
    encoded = rows.encode(model.tokenizer).remove_columns("length")
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


def summarize(times_ms: Float[np.ndarray, ...], batch: int, length: int) -> Latency:
    """Median, quartile distance, and the percentiles that the sample is large enough for."""
    flat = times_ms.ravel()
    lower, median, upper = (float(q) for q in np.percentile(flat, [25, 50, 75]))
    return Latency(
        batch=batch,
        length=length,
        samples=flat.size,
        median_ms=median,
        iqr_ms=upper - lower,
        p95_ms=tail_percentile(flat, 0.95),
        p99_ms=tail_percentile(flat, 0.99),
        samples_per_second=1000 * batch / median,
    )


def tail_percentile(values: Float[np.ndarray, " n"], p: float) -> float | None:
    """The p-quantile; None unless at least 10 samples are expected beyond it."""
    if values.size * (1 - p) < TAIL_SAMPLES - 1e-9:
        return None
    return float(np.quantile(values, p))


def speedup_interval(timing: Timing, seed: int) -> tuple[float, float, float]:
    """Ratio of medians, baseline over candidate, with a 95 % percentile bootstrap over rounds."""
    rng = np.random.default_rng(seed)
    rounds = len(timing.candidate)
    ratio = np.median(timing.baseline) / np.median(timing.candidate)
    picks = rng.integers(0, rounds, size=(RESAMPLES, rounds))
    above = np.median(timing.baseline[picks].reshape(RESAMPLES, -1), axis=1)
    below = np.median(timing.candidate[picks].reshape(RESAMPLES, -1), axis=1)
    low, high = np.percentile(above / below, [2.5, 97.5])
    return float(ratio), float(low), float(high)


def _time_in_turns(
    candidate: Runnable, inputs: Batch, baseline: Runnable, other: Batch, seconds: float
) -> Timing:
    """Rounds of one block each until the time is up; at least `MIN_ROUNDS`."""
    turns = [(candidate, inputs), (baseline, other)]
    passes = [_block_size(model, batch) for model, batch in turns]
    blocks: list[list[list[float]]] = [[], []]
    deadline = time.perf_counter() + seconds
    while len(blocks[0]) < MIN_ROUNDS or time.perf_counter() < deadline:
        first = len(blocks[0]) % 2
        for which in (first, 1 - first):
            blocks[which].append(_time_block(*turns[which], passes[which]))
    return Timing(candidate=np.array(blocks[0]), baseline=np.array(blocks[1]))


def _block_size(model: Runnable, batch: Batch) -> int:
    """Warms a model up and returns how many passes fill a block."""
    _time_block(model, batch, MIN_WARMUP)
    fastest = min(_time_block(model, batch, MIN_WARMUP))
    return max(1, min(MAX_BLOCK, round(BLOCK_SECONDS * 1000 / fastest)))


def _time_block(model: Runnable, batch: Batch, passes: int) -> list[float]:
    """Milliseconds of each of some consecutive passes."""
    times = []
    for _ in range(passes):
        model.synchronize()
        started = time.perf_counter()
        model.predict(batch)
        model.synchronize()
        times.append((time.perf_counter() - started) * 1000)
    return times


@contextmanager
def _collector_off() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
