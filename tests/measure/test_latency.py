from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress.config.errors import ConfigError
from compress.core.benchmark import Benchmark
from compress.device.cpu import Cpu
from compress.interfaces import CompressedModel, TrainingData
from compress.measure.latency import (
    Memory,
    TimedModel,
    Timings,
    fill_shape,
    fill_shapes,
    measure_briefly,
    measure_latency,
    summarize,
    tail_percentile,
)
from compress.transformer.torch_model import TorchModel
from tests.tiny import make_split

ONES = {"input_ids": np.ones((2, 8), dtype=np.int64)}


@dataclass
class Machine:
    """Stands in for pairs of processes: a pass takes what `milliseconds` says at the time.

    Attributes:
        milliseconds: of candidate and baseline, given how many passes there have been.
        turns: who was timed for how many passes, in each pair.
    """

    milliseconds: Sequence[Callable[[int], float]]
    passes: int = 0
    awake: int = 0
    turns: list[list[tuple[int, int]]] = field(default_factory=list)

    @contextmanager
    def open_pair(self, folders: Any, device: Any) -> Iterator[Machine]:
        self.turns.append([])
        yield self

    def wake(self, which: int) -> Machine:
        self.awake = which
        return self

    def prepare(self, inputs: Any, seconds: float) -> float:
        return self.milliseconds[self.awake](0)

    def time_block(self, passes: int) -> list[float]:
        self.turns[-1].append((self.awake, passes))
        times = []
        for _ in range(passes):
            times.append(self.milliseconds[self.awake](self.passes))
            self.passes += 1
        return times

    def resident_memory(self, inputs: Any) -> int:
        return 10 * len(inputs["input_ids"]) + self.awake

    def peak_memory(self, inputs: Any) -> int:
        return 100 * len(inputs["input_ids"]) + self.awake


@pytest.fixture
def time_with(monkeypatch: pytest.MonkeyPatch, device: Cpu) -> Callable[..., Timings]:
    def measured(machine: Machine, **benchmark: Any) -> Timings:
        monkeypatch.setattr("compress.measure.latency.open_pair", machine.open_pair)
        settings = replace(device.benchmark, **({"shapes": ((2, 8),), **benchmark}))
        timed_model = TimedModel(Path(), tuple(ONES for _ in settings.shapes))
        return measure_latency(timed_model, timed_model, replace(device, benchmark=settings), 0)

    return measured


def test_a_brief_timing_has_one_restart_and_the_rounds_asked_for(
    monkeypatch: pytest.MonkeyPatch, device: Cpu
) -> None:
    monkeypatch.setattr("compress.measure.latency.BRIEF_SECONDS", 1e-9)
    machine = Machine((lambda _: 10.0, lambda _: 30.0))
    monkeypatch.setattr("compress.measure.latency.open_pair", machine.open_pair)
    benchmark = replace(device.benchmark, shapes=((2, 8), (1, 8)), process_restarts=6)
    model = TimedModel(Path(), (ONES, ONES))
    found = measure_briefly(model, model, replace(device, benchmark=benchmark), 0, 2)
    once, twice = [(0, 1), (1, 2), (0, 1)], [(1, 1), (0, 2), (1, 1)]
    assert machine.turns == [2 * (once + twice)]
    assert [(timing.batch, timing.length) for timing in found] == [(2, 8), (1, 8)]
    for timing in found:
        assert timing.interval(0)[0] == pytest.approx(3.0)
        assert timing.times_ms == ([10.0] * 4, [30.0] * 4)


@pytest.mark.parametrize(
    ("count", "p", "present"),
    [(199, 0.95, False), (200, 0.95, True), (999, 0.99, False), (1000, 0.99, True)],
)
def test_percentiles_need_a_sample_large_enough(count: int, p: float, present: bool) -> None:
    assert (tail_percentile(np.arange(count, dtype=float), p) is not None) == present


def test_summary_by_hand() -> None:
    made = summarize([1.0, 2.0, 3.0, 4.0, 5.0, 100.0], batch=4, length=8, text=True)
    assert made.median_ms == 3.5
    assert made.iqr_ms == pytest.approx(4.75 - 2.25)
    assert made.samples == 6
    assert len(made.quantiles_ms) == 21
    assert made.quantiles_ms[::5] == (1.0, 2.25, 3.5, 4.75, 100.0)
    assert (made.p95_ms, made.p99_ms) == (None, None)
    assert made.samples_per_second == pytest.approx(4 / 0.0035)
    assert made.tokens_per_second == pytest.approx(32 / 0.0035)
    assert summarize([1.0], batch=4, length=8, text=False).tokens_per_second is None


def test_turns_are_in_the_order_abba(time_with: Callable[..., Timings]) -> None:
    machine = Machine((lambda _: 10.0, lambda _: 20.0))
    timings = time_with(machine, seconds=1e-9, process_restarts=1)
    once, twice = [(0, 1), (1, 2), (0, 1)], [(1, 1), (0, 2), (1, 1)]
    assert machine.turns == [4 * (once + twice) + once]
    (timing,) = timings.shapes
    assert timing.interval(0) == pytest.approx((2.0, 2.0, 2.0))
    assert [len(times) for times in timing.times_ms] == [18, 18]
    assert [latency.median_ms for latency in timings.latencies(0)] == [10.0]
    assert [latency.median_ms for latency in timings.latencies(1)] == [20.0]
    assert timings.memory == (Memory(20, 200), Memory(21, 201))


def test_a_machine_that_slows_down_evenly_does_no_harm(time_with: Callable[..., Timings]) -> None:
    machine = Machine(tuple(lambda n, ms=ms: ms * 1.01**n for ms in (10.0, 10.0)))
    (timing,) = time_with(machine, seconds=1e-9, process_restarts=1).shapes
    assert timing.interval(0) == pytest.approx((1.0, 1.0, 1.0))


def test_every_restart_has_fresh_processes_and_ends_when_it_agrees(
    time_with: Callable[..., Timings],
) -> None:
    machine = Machine((lambda _: 1.0, lambda _: 1.0))
    (timing,) = time_with(machine, seconds=600.0, process_restarts=3).shapes
    assert [len(rounds) for rounds in timing.restarts] == [5, 5, 5]
    assert len(machine.turns) == 3
    # Blocks of 30 ms, but of no more than 20 passes.
    assert {passes for turns in machine.turns for _, passes in turns} == {20, 40}


def test_a_noisy_restart_goes_on_until_its_time_is_up(
    time_with: Callable[..., Timings], monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).lognormal(0, 0.3, 100_000)
    machine = Machine((lambda n: 50 * noise[n], lambda n: 50 * noise[-1 - n]))
    (timing,) = time_with(machine, seconds=0.3, process_restarts=1).shapes
    assert len(timing.restarts[0]) > 10


def test_speedups_beside_the_floor(time_with: Callable[..., Timings]) -> None:
    machine = Machine((lambda _: 10.0, lambda _: 12.0))
    (timing,) = time_with(machine, seconds=1e-9, process_restarts=2).shapes
    floors = (None, 1.1, 1.3)
    assert [timing.speedup(0, floor).counts for floor in floors] == [True, True, False]
    made = timing.speedup(0, 1.1)
    assert (made.batch, made.length, made.floor) == (2, 8, 1.1)
    assert made.ratio == pytest.approx(1.2)


def test_real_processes(teacher: CompressedModel, data: TrainingData, device: Cpu) -> None:
    model = TorchModel(teacher.module, teacher.tokenizer, "cpu")
    shapes = ((1, 8), (64, 32))
    timed_model = TimedModel(teacher.folder or Path(), fill_shapes(model, data.train, shapes))
    longer = replace(device, benchmark=replace(device.benchmark, shapes=shapes, seconds=0.2))
    timings = measure_latency(timed_model, timed_model, longer, seed=0)
    for timing in timings.shapes:
        assert 0.3 < timing.interval(0)[0] < 3
    small, large = timings.latencies(0)
    assert large.median_ms > 2 * small.median_ms
    assert large.samples_per_second > small.samples_per_second
    assert large.tokens_per_second == pytest.approx(32 * large.samples_per_second)


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


def test_images_are_taken_as_they_are(images: TrainingData, teachers: Any) -> None:
    teacher = teachers("vit")
    model = TorchModel(teacher.module, teacher.tokenizer, "cpu")
    (inputs,) = fill_shapes(model, images.validation, ((11, 16),))
    assert inputs["pixel_values"].shape == (11, 3, 8, 8)
    # Eight rows, in turns.
    assert np.array_equal(inputs["pixel_values"][8], inputs["pixel_values"][0])
    assert not np.array_equal(inputs["pixel_values"][1], inputs["pixel_values"][0])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"shapes": ()}, "must be a list of one or more"),
        ({"shapes": ((0, 8),)}, r"shapes\[0\]\[0\] must be > 0, got 0"),
        ({"shapes": ((1, 2),)}, r"shapes\[0\]\[1\] must be >= 3, got 2"),
        ({"seconds": 0.0}, "seconds must be > 0"),
        ({"scoring_batch": 0}, r"scoring_batch must be in \[1, 2147483647\]"),
        ({"target_ci_width": 0.0}, "target_ci_width must be > 0"),
        ({"process_restarts": 0}, "restarts must be > 0"),
    ],
)
def test_bad_benchmarks_are_refused(change: dict[str, Any], reason: str, device: Cpu) -> None:
    with pytest.raises(ConfigError, match=reason):
        Benchmark(**(vars(device.benchmark) | change))
