"""What is measured, what is kept, and what is read again."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compress.config.errors import ConfigError, UserError
from compress.costs.family import Family
from compress.costs.fit import LEAST
from compress.costs.measuring import make_table
from compress.costs.samples import FOLDER, Sample, conditions, samples_file
from compress.costs.space import Sizes
from compress.measure.latency import Timing
from compress.stage.run import Run
from compress.store.cache_entries import find_entries
from tests.conftest import StillPair
from tests.costs.made import costs, run_of

AXES: dict[str, Any] = {"layers": (1, 2), "hidden": (None, 24), "vocabulary": (None, 300)}
FAST = "task.calibration_samples=4"


@pytest.fixture(autouse=True)
def _still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up times: a pass of any model takes a millisecond."""
    monkeypatch.setattr(
        "compress.measure.latency.open_pair", lambda *_: contextlib.nullcontext(StillPair())
    )
    monkeypatch.setattr("compress.measure.environment.WINDOW_SECONDS", 0.01)


class Clock:
    """A clock that steps each time it is read."""

    def __init__(self, step: float) -> None:
        self._step, self._now = step, 0.0

    def perf_counter(self) -> float:
        self._now += self._step
        return self._now


def never(*_: object) -> None:
    raise AssertionError("it was measured again")


def samples_of(run: Run, minutes: float = 1e-9, **axes: Any) -> tuple[Sample, ...]:
    table = make_table({"cpu": run}, costs(minutes, **(axes or AXES)))
    assert table.refused == {}
    return table.pairs["cpu"].samples.found


def test_samples_are_kept_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(tmp_path / "cache", FAST)
    found = samples_of(run)
    assert [sample.sizes for sample in found] == [
        Sizes(2), Sizes(1, hidden=24, vocabulary=300), Sizes(1), Sizes(2, hidden=24),
        Sizes(2, vocabulary=300),
    ]  # fmt: skip
    assert all(
        sample.speedup == (1.0, 1.0) and sample.baseline_ms == (1.0, 1.0) for sample in found
    )
    assert len({sample.processor_bytes for sample in found}) == 2
    family = Family(run, costs(**AXES).space)
    assert all(sample.facts == family.facts(sample.sizes) for sample in found)
    assert FOLDER not in {entry.stage for entry in find_entries(tmp_path / "cache")}
    monkeypatch.setattr("compress.costs.measuring.open_lab", never)
    assert samples_of(run, 0.0) == found


def test_a_later_call_measures_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(tmp_path / "cache", FAST)
    first = samples_of(run)
    more = samples_of(run, 1.0)
    assert more[: len(first)] == first
    assert len({sample.sizes for sample in more}) == len(more) == 2 * 2 * 2
    monkeypatch.setattr("compress.costs.measuring.open_lab", never)
    assert samples_of(run, 1.0) == more, "there is time left, but no shape"


def test_minutes_count_what_earlier_calls_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(tmp_path / "cache", FAST)
    monkeypatch.setattr("compress.costs.measuring.time", Clock(40.0))
    found = samples_of(run, 4.2)  # minutes: six shapes of 40 s each, and a seventh begins
    assert len(found) == 7
    with monkeypatch.context() as patch:
        patch.setattr("compress.costs.measuring.open_lab", never)
        assert samples_of(run, 4.6) == found
    assert len(samples_of(run, 4.8)) == 8


class Machine:
    """Times of shapes that a fit explains, but for those taken while something else ran."""

    def __init__(self, busy: Sequence[int]) -> None:
        self.busy, self.calls = busy, 0

    def measure(self, *_: object) -> tuple[Timing, ...]:
        self.calls += 1
        slow = self.calls in self.busy
        teacher, model = (40.0, 0.1) if slow else (10.0, 5.0)
        rounds = [3 * [math.log(teacher / model)]]
        shapes = ((1, 8), (4, 16))
        return tuple(Timing(*each, ([model], [teacher]), rounds) for each in shapes)


def test_what_was_measured_beside_other_work_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, lines = Machine(busy=[3]), list[str]()
    monkeypatch.setattr("compress.costs.lab.measure_briefly", machine.measure)
    run, wanted = run_of(tmp_path / "cache", FAST), costs(**AXES)
    found = make_table({"cpu": run}, wanted, lines.append).pairs["cpu"].samples.found
    assert machine.calls == 6, "five shapes, one of them twice"
    assert all(sample.speedup == pytest.approx((2.0, 2.0)) for sample in found)
    assert len({sample.sizes for sample in found}) == 5
    [again] = [line for line in lines if "measured again" in line]
    sizes = "layers=1 hidden=32 heads=2 neurons=64: speed-up"
    assert again.endswith(f"{sizes} 2.0 times at 1x8, 2.0 times at 4x16")
    # A machine that stays busy: one more attempt in each call.
    machine = Machine(busy=[3, 6, 7])
    monkeypatch.setattr("compress.costs.lab.measure_briefly", machine.measure)
    other = run_of(tmp_path / "other", FAST)
    table = make_table({"cpu": other}, wanted)
    assert machine.calls == 6
    assert table.doubt() != ""
    table = make_table({"cpu": other}, wanted)
    assert machine.calls == 7
    assert table.doubt() != ""
    assert make_table({"cpu": other}, wanted).doubt() == ""
    assert machine.calls == 8
    make_table({"cpu": other}, wanted)
    assert machine.calls == 8


@pytest.mark.parametrize(
    "overrides",
    [
        ["quantizer=int8_dynamic"],
        ["quantizer=int8_dynamic", "quantizer.embeddings=int8"],
        ["device.benchmark.shapes=[[1,8]]"],
        ["device.threads=2"],
        ["teacher.layers=3"],
        ["device=cpu_openvino"],
    ],
)
def test_other_conditions_have_another_file(
    overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("psutil.cpu_count", lambda logical=True: 2)
    space = costs(**AXES).space
    one, other = run_of(tmp_path), run_of(tmp_path, *overrides)
    keys = [conditions(Family(run, space), run.device, run.quantizer) for run in (one, other)]
    assert samples_file(tmp_path, keys[0]) != samples_file(tmp_path, keys[1])
    narrow = Family(one, replace(space, layers=(1,)))
    assert conditions(narrow, one.device, one.quantizer) != keys[0]
    again = run_of(tmp_path, "seed=3", "device.benchmark.seconds=5")
    same = conditions(Family(again, space), again.device, again.quantizer)
    assert samples_file(tmp_path, same) == samples_file(tmp_path, keys[0])


@pytest.mark.parametrize("damage", ["", "{}", "cut", '{"other": 1}'])
def test_a_damaged_file_is_refused(damage: str, tmp_path: Path) -> None:
    run = run_of(tmp_path / "cache", FAST)
    axes: dict[str, Any] = {"layers": (1, 2)}
    samples_of(run, **axes)
    [file] = (tmp_path / "cache" / FOLDER).iterdir()
    text = file.read_text()
    file.write_text(text[: len(text) // 2] if damage == "cut" else damage)
    with pytest.raises(UserError, match=r"costs-\w+\.json is damaged .*; delete it to measure"):
        samples_of(run, **axes)
    for key, value in (("speedup", [1.0]), ("speedup", [-1.0, 2.0]), ("facts", {})):
        raw = json.loads(text)
        raw["found"][1][key] = value
        file.write_text(json.dumps(raw))
        with pytest.raises(UserError, match=r"costs-\w+\.json is damaged \(.*\); delete it to mea"):
            samples_of(run, **axes)
    file.write_text(text.replace('"threads": 1', '"threads": 2').replace("1 thread", "2 threads"))
    with pytest.raises(UserError, match=r"has other conditions than its name; delete it"):
        samples_of(run, **axes)


def test_what_a_table_cannot_have_is_told(tmp_path: Path) -> None:
    runs = {
        "trains": run_of(tmp_path / "cache", FAST, "quantizer=qat_int8"),
        "none": run_of(tmp_path / "cache", FAST),
    }
    table = make_table(runs, costs(layers=(1, 2)))
    assert table.refused == {"trains": "it trains, and a table of costs only measures"}
    assert list(table.pairs) == ["none"]
    table = make_table(runs, costs(0.0, layers=(1, 3)))
    assert table.refused["none"].startswith(
        "2 corners of costs.space are not measured, which a fit"
    )
    table = make_table(runs, costs(layers=(1,)))
    assert table.refused["none"] == f"a fit needs {LEAST} shapes, costs.space has 1 that fit"
    with pytest.raises(ConfigError, match="is kept in the stage cache: set cache=on"):
        make_table({"off": run_of(tmp_path, "cache=off")}, costs(layers=(1, 2)))


def test_a_shape_that_a_format_does_not_support_is_no_sample(tmp_path: Path) -> None:
    """Groups of 32 do not divide rows of 31 numbers in OpenVINO."""
    pytest.importorskip("openvino")
    overrides = ("device=cpu_openvino", "quantizer=rtn", "quantizer.group_size=16")
    run = run_of(tmp_path / "cache", FAST, *overrides)
    lines: list[str] = []
    wanted = costs(layers=(1, 2), neurons=(None, 31))
    table = make_table({"ov": run}, wanted, lines.append)
    assert table.refused == {}
    found = [sample.sizes for sample in table.pairs["ov"].samples.found]
    assert found == [Sizes(2), Sizes(1)]
    assert "which a row of 31" in " ".join(lines) or "31 columns" in " ".join(lines)
