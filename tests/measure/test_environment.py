from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

from compress.device.cpu import Cpu
from compress.measure import environment as module
from compress.measure.environment import busy, environment, machine

CPU = {"model name": "Chip", "flags": "sse avx2 avx512_vnni amx_int8"}


class Processors:
    """Stands in for psutil and time: a machine of which the others take so much."""

    def __init__(self, others: float, own: float, physical: int = 2, logical: int = 4) -> None:
        self.others, self.own, self.seconds = others, own, 0.0
        self.counts = {True: logical, False: physical}

    def cpu_count(self, logical: bool = True) -> int:
        return self.counts[logical]

    def cpu_percent(self, interval: float) -> float:
        self.seconds += interval
        return 100 * (self.others + self.own) / self.counts[True]

    def perf_counter(self) -> float:
        return self.seconds

    def family_seconds(self) -> dict[int, float]:
        # One process is there all the time, one is new.
        family = {1: 7.0 + self.seconds * self.own / 2}
        return family | ({2: self.seconds * self.own / 2} if self.seconds else {})


def put(monkeypatch: pytest.MonkeyPatch, processors: Processors) -> None:
    monkeypatch.setattr(module, "psutil", processors)
    monkeypatch.setattr(module, "time", processors)
    monkeypatch.setattr(module, "family_seconds", processors.family_seconds)


@pytest.mark.parametrize(
    ("others", "own", "words"),
    [
        (0.0, 0.0, None),
        (0.2, 0.0, None),
        (0.1, 1.0, None),
        (1.0, 0.0, "other processes used 1.0 of 4 CPU cores when the run began"),
        (2.6, 1.2, "other processes used 2.6 of 4 CPU cores when the run began"),
    ],
)
def test_busy_is_what_others_take(
    others: float, own: float, words: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(monkeypatch, Processors(others, own))
    assert busy() == words


@pytest.mark.parametrize("others", [0.0, 2.0])
def test_a_busy_machine_is_recorded_and_warned_of_once(
    others: float, device: Cpu, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put(monkeypatch, Processors(others, 0.0))
    with caplog.at_level(logging.WARNING):
        found = environment(device)
    told = [
        "the machine is busy, timings will be unreliable: other processes used 2.0 of 4 CPU cores"
    ]
    assert [m.partition(" when")[0] for m in caplog.messages] == (told if others else [])
    assert (found.busy is not None) == bool(others)


def test_the_versions_are_those_of_the_libraries_that_a_run_uses(
    device: Cpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = environment(device).versions
    assert {"python", "torch"} <= set(versions)
    assert "pytest" not in versions
    monkeypatch.setattr(type(device.runtime), "libraries", ("pytest",))
    assert environment(device).versions == {**versions, "pytest": pytest.__version__}


def test_governor_where_it_can_be_read(
    device: Cpu, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "GOVERNOR", tmp_path / "governor")
    assert environment(device).governor is None
    (tmp_path / "governor").write_text("powersave\n")
    assert environment(device).governor == "powersave"


@pytest.mark.parametrize(
    ("logical", "words"),
    [(2, "Chip, 2 cores, AVX2 VNNI AMX-INT8"), (4, "Chip, 2 cores, 4 threads, AVX2 VNNI AMX-INT8")],
)
def test_the_machine_in_words(logical: int, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, Processors(0, 0, physical=2, logical=logical))
    monkeypatch.setattr(module, "_cpu_facts", lambda: CPU)
    monkeypatch.setattr(module.torch, "cuda", SimpleNamespace(is_available=lambda: False))
    assert machine.__wrapped__() == words
