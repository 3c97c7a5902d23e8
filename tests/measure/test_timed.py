from __future__ import annotations

import gc
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from compress.device.cpu import HostMeter
from compress.measure.timed import MOST_TOKENIZED, SLOW_SECONDS, TimedModel

INPUTS = {"input_ids": np.ones((2, 8), dtype=np.int64)}


class Model:
    """Notes whether the collector was on at each pass; a pass takes as long as it is told to."""

    def __init__(self, *seconds: float) -> None:
        self.seconds, self.collected = seconds or (0.0,), list[bool]()

    def predict(self, batch: Mapping[str, Any]) -> None:
        time.sleep(self.seconds[len(self.collected) % len(self.seconds)])
        self.collected.append(gc.isenabled())

    def synchronize(self) -> None:
        pass


def timed(model: Model) -> TimedModel:
    made = TimedModel("", "cpu", 1, HostMeter)
    made._model = model  # type: ignore[assignment]
    return made


def test_the_first_pass_of_a_block_is_not_timed_unless_it_is_long() -> None:
    model = Model(0.02, 0.001, 0.001)
    assert max(timed(model).time_block(2)) < 15
    assert len(model.collected) == 3
    made = timed(model := Model())
    made._seconds = SLOW_SECONDS
    assert len(made.time_block(2)) == len(model.collected) == 2


def test_the_collector_rests_while_the_clock_runs() -> None:
    model = Model()
    timed(model).time_block(3)
    assert model.collected == [False] * 4
    assert gc.isenabled()


class Encoder:
    """Notes what it encodes."""

    def __init__(self, model: Model, seconds: float) -> None:
        self.model, self.seconds, self.seen = model, seconds, list[tuple[str, int, int]]()

    def encode(self, columns: list[list[str]], max_length: int) -> dict[str, Any]:
        time.sleep(self.seconds)
        self.seen.append((columns[0][0], max_length, len(self.model.collected)))
        assert not gc.isenabled()
        return {}


def test_tokenization_is_timed_between_forward_passes() -> None:
    model = Model(0.05)
    encoder = model.encoder = Encoder(model, 0.002)  # type: ignore[attr-defined]
    times = timed(model).tokenize([[["a"]], [["b"]]], 32, 0.0)
    assert len(times) == 5
    assert 2 <= min(times) <= max(times) < 40
    # The first two are not timed.
    assert encoder.seen == [("ab"[place % 2], 32, place) for place in range(7)]
    assert gc.isenabled()


def test_tokenization_ends_when_it_is_known_well() -> None:
    model = Model()
    model.encoder = Encoder(model, 0.0)  # type: ignore[attr-defined]
    assert len(timed(model).tokenize([[["a"]]], 32, 600.0)) == MOST_TOKENIZED


def test_warming_up_ends_when_the_time_settles_or_is_up() -> None:
    steady, erratic = Model(0.02, *[0.01] * 100), Model(*(0.003 * 2**k for k in range(5)))
    started = time.perf_counter()
    # One cold pass, one window that differs from it, and one that does not.
    assert timed(steady).prepare(INPUTS, 5.0) == pytest.approx(10, rel=0.2)
    assert time.perf_counter() - started < 2.0
    assert len(steady.collected) >= 1 + 2 * 3
    started = time.perf_counter()
    timed(erratic).prepare(INPUTS, 0.1)
    assert time.perf_counter() - started < 1.0
