from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from compress.interfaces import CompressedModel, Runnable
from compress.measure.benchmark import Benchmark
from compress.measure.latency import (
    Timing,
    fill_shape,
    measure_latency,
    speedup_interval,
    summarize,
    tail_percentile,
)
from compress.runtime.torch import TorchModel
from compress.settings import ConfigError
from tests.conftest import make_split


class Sleeper(Runnable):
    """Takes a fixed time a batch, and notes who was called when."""

    def __init__(self, tokenizer: Any, name: str, seconds: float, calls: list[str]) -> None:
        self.tokenizer = tokenizer
        self.name, self.seconds, self.calls = name, seconds, calls

    def predict(self, batch: Mapping[str, Tensor]) -> Tensor:
        self.calls.append(self.name + ("" if gc.isenabled() else "!"))
        time.sleep(self.seconds)
        return torch.zeros(len(batch["input_ids"]), 2)

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        yield from ()

    def tensors(self) -> Iterator[Tensor]:
        yield from ()

    def synchronize(self) -> None:
        pass


@pytest.mark.parametrize(
    ("count", "p", "present"),
    [(199, 0.95, False), (200, 0.95, True), (999, 0.99, False), (1000, 0.99, True)],
)
def test_percentiles_need_a_sample_large_enough(count: int, p: float, present: bool) -> None:
    assert (tail_percentile(np.arange(count, dtype=float), p) is not None) == present


def test_summary_by_hand() -> None:
    made = summarize(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 100.0]]), batch=4, length=8)
    assert made.median_ms == 3.5
    assert made.iqr_ms == pytest.approx(4.75 - 2.25)
    assert made.samples == 6
    assert (made.p95_ms, made.p99_ms) == (None, None)
    assert made.samples_per_second == pytest.approx(4 / 0.0035)


def test_speedup_interval_covers_the_truth_and_narrows() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for rounds in (10, 200):
        noise = rng.lognormal(0, 0.1, size=(2, rounds, 5))
        timing = Timing(candidate=10 * noise[0], baseline=20 * noise[1])
        ratio, low, high = speedup_interval(timing, seed=0)
        assert low < 2.0 < high
        assert low <= ratio <= high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_speedup_interval_repeats() -> None:
    timing = Timing(
        np.random.default_rng(1).random((9, 3)), np.random.default_rng(2).random((9, 4))
    )
    assert speedup_interval(timing, 0) == speedup_interval(timing, 0)


def test_models_take_turns_and_the_collector_rests(teacher: CompressedModel) -> None:
    calls: list[str] = []
    slow = Sleeper(teacher.tokenizer, "a", 0.004, calls)
    fast = Sleeper(teacher.tokenizer, "b", 0.002, calls)
    benchmark = Benchmark(shapes=((1, 8),), seconds=0.3, scoring_batch=1)
    ours, theirs, speedups = measure_latency(slow, fast, make_split(4), benchmark, seed=0)
    assert gc.isenabled()
    timed = [call for call in calls if call.endswith("!")]
    order = [c for i, c in enumerate(timed) if i == 0 or timed[i - 1] != c]
    assert len(order) >= 5, "blocks alternate"
    assert order[:5] == ["a!", "b!", "a!", "b!", "a!"]
    assert speedups[0].low < 0.55 < speedups[0].high + 0.15
    assert ours[0].median_ms > theirs[0].median_ms > 2.0


@pytest.mark.parametrize(("batch", "length"), [(1, 3), (2, 16), (5, 33), (32, 32)])
def test_shapes_are_filled_with_real_text(
    batch: int, length: int, teacher: CompressedModel
) -> None:
    model = TorchModel(teacher.module, teacher.tokenizer, "cpu")
    filled = fill_shape(model, make_split(3), batch, length)
    assert filled["input_ids"].shape == (batch, length)
    tokenizer = teacher.tokenizer
    assert (filled["input_ids"][:, 0] == tokenizer.cls_token_id).all()
    assert (filled["input_ids"][:, -1] == tokenizer.sep_token_id).all()
    assert not (filled["input_ids"] == tokenizer.pad_token_id).any()
    assert filled["attention_mask"].all()
    assert model.predict(filled).shape == (batch, 2)
    if length > 10:
        assert len(filled["input_ids"].unique()) > 5


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"shapes": ()}, "at least one"),
        ({"shapes": ((0, 8),)}, r"got \[0, 8\]"),
        ({"shapes": ((1, 2),)}, r"got \[1, 2\]"),
        ({"seconds": 0.0}, "seconds must be > 0"),
        ({"scoring_batch": 0}, "scoring_batch must be > 0"),
    ],
)
def test_bad_benchmarks_are_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        Benchmark(**({"shapes": ((1, 8),), "seconds": 1.0, "scoring_batch": 8} | change))
