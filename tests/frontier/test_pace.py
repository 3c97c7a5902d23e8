"""Epochs that fit into the hours of a search."""

from __future__ import annotations

import contextlib
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
    finalists_in_time,
    measuring_seconds,
    supernet_epochs,
)
from tests.configs import settings_of
from tests.pruner.made import Contexts, Teachers
from tests.student.test_supernet import supernet

STEPS = 12
BATCH = "supernet.batch_size=4", "distillation.batch_size=4"


class Time:
    """A clock that only time being read moves on: each step of a training takes two seconds."""

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


def until(seconds: float, steps: int = STEPS) -> Pace:
    """A search that ends so many seconds after so many steps have been timed.

    The clock is read before the first of them.
    """
    return Pace(0.0, ((1 + steps) * 2.0 + seconds) / 3600, frozenset())


def test_a_third_of_the_time_is_the_super_nets(
    teachers: Teachers, context: Contexts, time: Time
) -> None:
    ctx = context(teachers("bert"))
    steps = -(-len(ctx.data.learned) // 4)
    student = supernet(*BATCH, "supernet.epochs=99")
    # 0.9 of a third of 1,000 s, at two seconds a step.
    expected = float(f"{0.9 * 1000 / 3 / (2 * steps):.2g}")
    assert supernet_epochs(student, 1, benchmark(), until(1000), ctx) == expected
    time.ticks = itertools.count(0.0, 2.0)
    half = supernet_epochs(student, 2, benchmark(), until(1000), ctx)
    assert half == float(f"{0.9 * 1000 / 6 / (2 * steps):.2g}")
    time.ticks = itertools.count(0.0, 2.0)
    its_own = supernet_epochs(supernet(*BATCH), 1, benchmark(), until(1e6), ctx)
    assert its_own == 1.0


def test_a_super_net_leaves_time_for_a_finalist(
    teachers: Teachers, context: Contexts, time: Time
) -> None:
    """A finalist takes three times 48 s for measuring and 24 s for 12 steps."""
    ctx = context(teachers("bert"))
    steps = -(-len(ctx.data.learned) // 4)
    student = supernet(*BATCH, "supernet.epochs=99")
    found = supernet_epochs(student, 1, benchmark(), until(250, steps=8), ctx)
    assert found == float(f"{0.9 * (250 - 168) / (2 * steps):.2g}")
    time.ticks = itertools.count(0.0, 2.0)
    # 206 s, of which 18 have passed, and 192 s are needed: 210 s, and a tenth.
    words = r"finalist: 0\.07 or more was needed, got 0\.0572222\. .*hours=0\.07$"
    with pytest.raises(UserError, match=words):
        supernet_epochs(student, 1, benchmark(), until(190, steps=7), ctx)


def test_a_search_that_begins_again_needs_no_time_for_what_is_cached(time: Time) -> None:
    """An hour has passed, and 360 s are needed: of these and a minute to begin, 1.1 times."""
    error = Pace(-3600.0, 1.0, frozenset()).too_short(360.0)
    assert "finalist: 1.21 or more was needed, got 1. " in str(error)
    assert str(error).endswith("is hydra.sweeper.max_hours=0.13")


@pytest.mark.parametrize(
    ("left", "timed", "fits"),
    [
        (1000.0, STEPS, True),  # 22 s from the first to the last, of 50
        (300.0, 9, True),  # 16 s, of 15
        (60.0, 6, False),  # at least six: five times from one to the next
    ],
)
def test_steps_are_timed_for_a_part_of_the_time(
    left: float, timed: int, fits: bool, teachers: Teachers, context: Contexts, time: Time
) -> None:
    pace = Pace(0.0, left / 3600, frozenset())
    student = supernet(*BATCH, "supernet.epochs=99")
    with contextlib.nullcontext() if fits else pytest.raises(UserError):
        supernet_epochs(student, 1, benchmark(), pace, context(teachers("bert")))
    # Read once before the first step, once for what is left after the last, and for the error.
    assert time.now == 2.0 * (timed + 1 + (not fits))


def test_a_training_of_few_steps_needs_no_time_for_more(
    teachers: Teachers, context: Contexts, time: Time
) -> None:
    ctx = context(teachers("bert"))
    assert len(ctx.data.learned) <= 4 * 8
    # One epoch of at most 8 steps; the time is too short for 12 of them.
    seconds = 3 * 48 + 2 * 2 * 8 + 1.0
    student = supernet(*BATCH, "supernet.epochs=1")
    assert supernet_epochs(student, 1, benchmark(), until(seconds, steps=6), ctx) > 0


def test_finalists_share_what_measurements_leave(
    teachers: Teachers, context: Contexts, time: Time
) -> None:
    ctx = context(teachers("bert"))
    steps = -(-len(ctx.data.learned) // 4)
    student = supernet(*BATCH, "distillation.epochs=99")
    assert measuring_seconds(benchmark()) == 15 + 3 * (3 + 2 * 4)
    # 900 s for three, of which five times 48 s are for measuring.
    found = finalists_in_time(student, 3, benchmark(), until(900), ctx)
    assert found == (3, float(f"{0.9 * (900 - 5 * 48) / 3 / (2 * steps):.2g}"))
    time.ticks = itertools.count(0.0, 2.0)
    # Two at a time take two turns.
    side_by_side = replace(until(900), workers=2)
    found = finalists_in_time(student, 3, benchmark(), side_by_side, ctx)
    assert found == (3, float(f"{0.9 * (900 - 5 * 48) / 2 / (2 * steps):.2g}"))
    time.ticks = itertools.count(0.0, 2.0)
    # Two would have 19 s each, less than 12 steps take.
    found = finalists_in_time(student, 3, benchmark(), until(231, steps=8), ctx)
    assert found == (1, float(f"{0.9 * (231 - 3 * 48) / (2 * steps):.2g}"))
    time.ticks = itertools.count(0.0, 2.0)
    # None fits, and one is trained for 12 steps.
    found = finalists_in_time(student, 2, benchmark(), until(100, steps=6), ctx)
    assert found == (1, float(f"{0.9 * STEPS / steps:.2g}"))


def test_matching_has_its_epochs(teachers: Teachers, context: Contexts, time: Time) -> None:
    ctx = context(teachers("bert"))
    full = 2.0 * -(-len(ctx.data.learned) // 4)
    words = (
        *BATCH, "distillation.epochs=999", "matching.method=hidden", "matching.epochs=2",
        "matching.learning_rate=0.01",
    )  # fmt: skip
    found = finalists_in_time(supernet(*words), 1, benchmark(), until(2000), ctx)
    assert found == (1, float(f"{0.9 * (2000 - 3 * 48 - 2 * full) / full:.2g}"))


def test_time_that_measurements_alone_exceed_ends_the_search(time: Time) -> None:
    """A finalist with the controls takes three times 48 s."""
    Pace(0.0, 160 / 3600, frozenset()).check_measuring(benchmark())
    with pytest.raises(UserError, match=r"0\.05 or more was needed, got 0\.0333333\. .*=0\.05$"):
        Pace(0.0, 120 / 3600, frozenset()).check_measuring(benchmark())
    Pace(0.0, 120 / 3600, frozenset({ALONE})).check_measuring(benchmark())  # takes its time


def test_named_epochs_are_left_alone() -> None:
    def sets(key: str, *named: str, hours: float | None = 1.0) -> bool:
        return Pace(0.0, hours, frozenset(named)).sets(key)

    assert sets(SUPERNET, ALONE, "student", "student.distillation.temperature")
    assert not sets(ALONE, ALONE)
    assert not sets(ALONE, "student.distillation")
    assert not sets(SUPERNET, hours=None)


@pytest.mark.parametrize(("hours", "minutes"), [(None, 4.0), (2.0, 4.0), (0.5, 3.75), (0.1, 0.75)])
def test_costs_take_a_part_of_the_hours(hours: float | None, minutes: float) -> None:
    assert Pace(0.0, hours, frozenset()).costs_minutes() == minutes
