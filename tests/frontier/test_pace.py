"""Epochs that fit into the hours of a search."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from compress.config.errors import UserError
from compress.core import monitor
from compress.core.benchmark import Benchmark
from compress.device.cpu import Cpu
from compress.frontier import pace as module
from compress.frontier.pace import (
    ALONE,
    SUPERNET,
    Pace,
    finalist_epochs,
    measuring_seconds,
    supernet_epochs,
)
from tests.configs import settings_of
from tests.pruner.made import Contexts, Teachers
from tests.student.test_supernet import supernet

STEPS = 12
BATCH = "supernet.batch_size=4", "distillation.batch_size=4"


class Time:
    """A clock on which each step of a training takes two seconds, and nothing else any."""

    def __init__(self) -> None:
        self.ticks = itertools.count(0.0, 2.0)
        self.now = 0.0

    def perf_counter(self) -> float:
        self.now = next(self.ticks)
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    for each in (module, monitor):
        monkeypatch.setattr(each, "time", made)
    monkeypatch.setattr(module, "STEPS", STEPS)
    return made


def benchmark() -> Benchmark:
    cpu = settings_of("device", "cpu", "device.benchmark.shapes=[[1,8],[4,16]]")
    assert isinstance(cpu, Cpu)
    return replace(cpu.benchmark, seconds=4.0, process_restarts=3)


def until(seconds: float, time: Time) -> Pace:
    """A search that ends so many seconds after the steps have been timed."""
    return Pace(0.0, (STEPS * 2.0 + seconds) / 3600, frozenset())


def test_a_third_of_the_time_is_the_super_nets(
    teachers: Teachers, context: Contexts, time: Time
) -> None:
    ctx = context(teachers("bert"))
    steps = -(-len(ctx.data.learned) // 4)
    student = supernet(*BATCH, "supernet.epochs=99")
    # 0.9 of a third of 1,000 s, at two seconds a step.
    expected = float(f"{0.9 * 1000 / 3 / (2 * steps):.2g}")
    assert supernet_epochs(student, 1, until(1000, time), ctx) == expected
    time.ticks = itertools.count(0.0, 2.0)
    half = supernet_epochs(student, 2, until(1000, time), ctx)
    assert half == float(f"{0.9 * 1000 / 6 / (2 * steps):.2g}")
    time.ticks = itertools.count(0.0, 2.0)
    assert supernet_epochs(supernet(*BATCH), 1, until(1e6, time), ctx) == 1.0  # its own epochs


def test_finalists_share_what_measurements_leave(
    teachers: Teachers, context: Contexts, time: Time
) -> None:
    ctx = context(teachers("bert"))
    steps = -(-len(ctx.data.learned) // 4)
    student = supernet(*BATCH, "distillation.epochs=99")
    assert measuring_seconds(benchmark()) == 15 + 3 * (3 + 2 * 4)
    # 900 s for three, of which five times 48 s are for measuring.
    found = finalist_epochs(student, 3, benchmark(), until(900, time), ctx)
    assert found == float(f"{0.9 * (900 - 5 * 48) / 3 / (2 * steps):.2g}")
    time.ticks = itertools.count(0.0, 2.0)
    # Two at a time take two turns.
    side_by_side = replace(until(900, time), workers=2)
    found = finalist_epochs(student, 3, benchmark(), side_by_side, ctx)
    assert found == float(f"{0.9 * (900 - 5 * 48) / 2 / (2 * steps):.2g}")
    time.ticks = itertools.count(0.0, 2.0)
    with pytest.raises(UserError, match=r"max_hours must leave time .* got 92 s too little"):
        finalist_epochs(student, 2, benchmark(), until(100, time), ctx)


def test_matching_has_its_epochs(teachers: Teachers, context: Contexts, time: Time) -> None:
    ctx = context(teachers("bert"))
    full = 2.0 * -(-len(ctx.data.learned) // 4)
    words = (
        *BATCH, "distillation.epochs=999", "matching.method=hidden", "matching.epochs=2",
        "matching.learning_rate=0.01",
    )  # fmt: skip
    found = finalist_epochs(supernet(*words), 1, benchmark(), until(2000, time), ctx)
    assert found == float(f"{0.9 * (2000 - 3 * 48 - 2 * full) / full:.2g}")


def test_named_epochs_are_left_alone() -> None:
    def sets(key: str, *named: str, hours: float | None = 1.0) -> bool:
        return Pace(0.0, hours, frozenset(named)).sets(key)

    assert sets(SUPERNET, ALONE, "student", "student.distillation.temperature")
    assert not sets(ALONE, ALONE)
    assert not sets(ALONE, "student.distillation")
    assert not sets(SUPERNET, hours=None)
