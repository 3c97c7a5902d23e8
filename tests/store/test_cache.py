from __future__ import annotations

import importlib.util
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from compress.device.cpu import Cpu
from compress.interfaces import CompressedModel, TrainingData
from compress.records.schema import RunRecord
from compress.store.cache import StageStore
from compress.teacher.tiny_random import TinyRandomTeacher
from tests.configs import ROOT, TINY
from tests.tiny import tiny_teacher

Runs = Callable[..., RunRecord]


def outcomes(record: RunRecord) -> dict[str, str]:
    return {stage.name: stage.outcome for stage in record.stages}


def test_a_second_run_fine_tunes_and_distils_nothing(run_config: Runs, tmp_path: Path) -> None:
    cache = tmp_path / "own"
    cache.mkdir()
    student = ("student=layers", "student.distillation.epochs=0.2")
    first = run_config(*student, "pruner=magnitude", cache=cache)
    second = run_config(*student, "pruner=wanda", cache=cache)
    made = dict.fromkeys(
        ("teacher", "teacher_logits", "student", "pruner", "zipped_bytes"), "computed"
    )
    unchanged = {"quantizer": "skipped"}
    compared = importlib.util.find_spec("tokie") is not None
    made |= {"tokenizer": "computed"} if compared else {}
    assert outcomes(first) == {**made, **unchanged, "baseline_logits": "computed"}
    assert outcomes(second) == {
        "teacher": "cached", "student": "cached", "pruner": "computed", "baseline_logits": "cached",
        "zipped_bytes": "cached", **unchanged, **({"tokenizer": "cached"} if compared else {}),
    }  # fmt: skip
    third = run_config(*student, "pruner=wanda", "quantizer=int8_dynamic", cache=cache)
    assert outcomes(third).pop("quantizer") == "skipped"
    assert set(outcomes(third).values()) == {"cached", "skipped"}


def test_what_is_kept_of_a_baseline_otherwise_is_made_anew(
    run_config: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "own"
    cache.mkdir()
    run_config(cache=cache)
    assert outcomes(run_config(cache=cache))["baseline_logits"] == "cached"
    monkeypatch.setattr("compress.problem.classification.Classification.kept_version", 7)
    assert outcomes(run_config(cache=cache))["baseline_logits"] == "computed"


def test_teacher_logits_are_shared_by_students(run_config: Runs, tmp_path: Path) -> None:
    cache = tmp_path / "own"
    cache.mkdir()
    runs = [
        run_config("student=layers", f"student.distillation.temperature={t}", cache=cache)
        for t in (1, 2)
    ]
    assert outcomes(runs[0])["teacher_logits"] == "computed"
    assert outcomes(runs[1])["teacher_logits"] == "cached"
    assert outcomes(runs[1])["student"] == "computed"


def test_cache_off_makes_all_anew_and_leaves_nothing(run_config: Runs, tmp_path: Path) -> None:
    run_config("pruner=wanda")
    folder = tmp_path / "off"
    record = run_config("pruner=wanda", "cache=off", folder=folder)
    assert outcomes(record)["teacher"] == "computed"
    timings = next(folder.glob("timings-*.json")).name
    left = sorted(path.name for path in folder.iterdir())
    assert left == sorted([record.baseline_model, "model", timings])


@pytest.mark.parametrize(
    "changed",
    [
        {"hidden": 32},
        {"architecture": "distilbert"},
        {"finetune": replace(tiny_teacher().finetune, learning_rate=0.5)},
    ],
)
def test_any_setting_changes_the_key(
    changed: dict[str, object], data: TrainingData, device: Cpu, tmp_path: Path
) -> None:
    store = StageStore(tmp_path, device, seed=0)
    settings = tiny_teacher()
    other = replace(settings, **changed)  # type: ignore[arg-type]
    digests = {make(store, each, data, device).digest for each in (settings, other, settings)}
    assert len(digests) == 2


def test_seed_inputs_and_version_change_the_key(
    data: TrainingData, device: Cpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, store = tiny_teacher(), StageStore(tmp_path, device, seed=0)
    digests = [make(store, settings, data, device).digest]
    digests.append(make(StageStore(tmp_path, device, seed=1), settings, data, device).digest)
    digests.append(make(store, settings, data, device, rows="others").digest)
    monkeypatch.setattr(TinyRandomTeacher, "version", TinyRandomTeacher.version + 1)
    digests.append(make(store, settings, data, device).digest)
    assert len(set(digests)) == 4


def test_a_damaged_entry_is_made_again(
    data: TrainingData, device: Cpu, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = StageStore(tmp_path, device, seed=0)
    first = make(store, tiny_teacher(), data, device)
    assert first.folder is not None
    # Cloned: the weights that were read are mapped from the file that is damaged next.
    before = [weight.clone() for weight in first.module.parameters()]
    weights = first.folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    with caplog.at_level(logging.WARNING, logger="compress.store.cache"):
        again = make(store, tiny_teacher(), data, device)
    assert "is damaged" in caplog.text
    assert store.records[-1].outcome == "computed"
    pairs = zip(before, again.module.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


@pytest.mark.parametrize("name", ["tensors.safetensors", "sha256"])
def test_damaged_tensors_are_made_again(name: str, device: Cpu, tmp_path: Path) -> None:
    store = StageStore(tmp_path, device, seed=0)
    made = iter([{"x": torch.ones(3)}, {"x": torch.zeros(3)}, {"x": torch.ones(1)}])

    def get() -> list[float]:
        return store.tensors("numbers", {"of": "x"}, lambda: next(made))["x"].tolist()

    assert get() == get() == [1, 1, 1]
    damaged = next(tmp_path.rglob(name))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")
    assert get() == get() == [0, 0, 0]
    next(tmp_path.rglob(name)).unlink()
    assert get() == [1]


def test_a_failure_leaves_no_entry(data: TrainingData, device: Cpu, tmp_path: Path) -> None:
    store = StageStore(tmp_path, device, seed=0)

    def fail() -> CompressedModel:
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        store.model("teacher", tiny_teacher(), {}, fail)
    files = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert [name for name in files if not name.startswith(".lock-")] == ["CACHEDIR.TAG"]


def test_who_comes_second_waits_and_finds_the_entry_made(device: Cpu, tmp_path: Path) -> None:
    made, begun = [], threading.Event()

    def make() -> dict[str, torch.Tensor]:
        made.append(1)
        begun.set()
        time.sleep(0.3)
        return {"x": torch.ones(3)}

    def work() -> None:
        StageStore(tmp_path, device, seed=0).tensors("numbers", {"of": "x"}, make)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
        begun.wait(10)
    for thread in threads:
        thread.join(10)
    assert made == [1]


@pytest.mark.slow
def test_killed_runs_leave_a_cache_that_works(tmp_path: Path) -> None:
    """SIGKILL at instants spread over a run; then the same command must do all of its work."""
    command = [sys.executable, "run.py", *TINY, f"cache.dir={tmp_path / 'cache'}", "pruner=wanda"]
    for attempt, seconds in enumerate((6.0, 7.5, 9.0, 10.5, 12.0)):
        folder = tmp_path / f"killed{attempt}"
        process = subprocess.Popen([*command, f"hydra.run.dir={folder}"], cwd=ROOT)
        time.sleep(seconds)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        record = folder / "metrics.json"
        assert not record.exists() or json.loads(record.read_text())["status"] == "ok"
    done = subprocess.run([*command, f"hydra.run.dir={tmp_path / 'done'}"], cwd=ROOT, check=True)
    assert done.returncode == 0
    assert json.loads((tmp_path / "done" / "metrics.json").read_text())["status"] == "ok"


def make(
    store: StageStore, settings: TinyRandomTeacher, data: TrainingData, device: Cpu, **inputs: str
) -> CompressedModel:
    return store.model("teacher", settings, inputs, lambda: settings.load(data, device, 0))
