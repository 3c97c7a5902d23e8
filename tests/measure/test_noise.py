from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress.device.cpu import Cpu
from compress.interfaces import CompressedModel
from compress.measure.latency import Memory, TimedModel, Timing, Timings
from compress.measure.noise import noise_floors
from compress.records.schema import RunRecord


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[TimedModel, TimedModel]]:
    """What was timed; the answer is always a ratio of 0.8 at the first shape and 1 at others."""
    made = []

    def measured(candidate: TimedModel, baseline: TimedModel, device: Cpu, seed: int) -> Timings:
        made.append((candidate, baseline))
        timings = [
            Timing(*shape, restarts=[[float(np.log(0.8 if i == 0 else 1.0))]])
            for i, shape in enumerate(device.benchmark.shapes)
        ]
        return Timings(tuple(timings), (Memory(None, None), Memory(None, None)), True)

    monkeypatch.setattr("compress.measure.noise.measure_latency", measured)
    return made


def test_it_is_measured_once_for_what_it_depends_on(
    calls: list[Any],
    device: Cpu,
    teachers: Callable[[str], CompressedModel],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bert, distilbert = (TimedModel(teachers(n).folder or tmp_path, ()) for n in ("bert", "roberta"))
    noisy = replace(device, benchmark=replace(device.benchmark, noise_floor=True))
    assert noise_floors(bert, "bert", device, 0, tmp_path) == (None, None)
    assert not list(tmp_path.iterdir())
    for _ in range(2):
        assert noise_floors(bert, "bert", noisy, 0, tmp_path) == pytest.approx((1.25, 1.0))
    assert calls == [(bert, bert)]
    noise_floors(distilbert, "roberta", noisy, 0, tmp_path)
    noise_floors(bert, "bert", replace(noisy, threads=2), 0, tmp_path)
    longer = replace(noisy, benchmark=replace(noisy.benchmark, shapes=((1, 9),)))
    assert len(noise_floors(bert, "bert", longer, 0, tmp_path)) == 1
    monkeypatch.setattr("compress.measure.sharing.machine", lambda: "another")
    noise_floors(bert, "bert", noisy, 0, tmp_path)
    assert len(calls) == 5


def test_a_sweep_shares_it(run_apart: Callable[..., RunRecord], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    noisy = ("device.benchmark.noise_floor=true",)
    record = run_apart(*noisy, folder=folder)
    (path,) = folder.glob("noise_floor-*.json")
    for speedup in record.speedup:
        assert speedup.floor is not None
        assert speedup.floor >= 1
        inside = speedup.low <= speedup.floor and speedup.high >= 1 / speedup.floor
        assert speedup.counts == (not inside)
    path.write_text(path.read_text().replace('"floors": [', '"floors": [1000, 1000], "were": ['))
    again = run_apart(*noisy, "quantizer=int8_dynamic", folder=folder)
    assert [(s.floor, s.counts) for s in again.speedup] == [(1000, False)] * 2
