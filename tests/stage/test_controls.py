from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compress.build import build_run
from compress.config.errors import UserError
from compress.interfaces import CompressedModel, Device
from compress.pipeline import execute
from compress.records.schema import Control, FinishedRun, read_record, write_record
from compress.stage import controls
from compress.stage.controls import int8_format
from tests.configs import TINY, blank_record, compose_config, settings_of
from tests.slow import slow

Runs = Callable[..., FinishedRun]
Sweeps = Callable[..., FinishedRun]
ALWAYS = "controls=always"


@pytest.fixture
def sweep(run_config: Runs, tmp_path: Path, cache_dir: Path) -> Sweeps:
    """Executes a run of a sweep in `tmp_path`."""

    def run(name: str, *overrides: str) -> FinishedRun:
        cfg = compose_config(*TINY, f"cache.dir={cache_dir}", "controls=sweep", *overrides)
        (tmp_path / name).mkdir()
        return execute(build_run(cfg), tmp_path / name, tmp_path, blank_record(cfg))

    return run


def found_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("controls-*.json"))


def test_they_are_scored_on_the_rows_of_the_run(run_config: Runs, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    record = run_config("pruner=wanda", ALWAYS, folder=folder)
    tfidf, int8 = record.controls
    assert (tfidf.name, int8.name) == ("TF-IDF + logistic regression", "teacher in int8")
    assert int8.recipe == "int8_dynamic embeddings=int8"
    assert tfidf.metrics is not None
    assert int8.metrics is not None
    for control in record.controls:
        assert control.metrics is not None
        for ours, theirs in (
            (control.metrics.score, record.baseline.score),
            (control.metrics.validation, record.baseline.validation),
        ):
            assert ours is not None
            assert theirs is not None
            assert (ours.split, ours.samples) == (theirs.split, theirs.samples)
            assert ours.low < ours.value < ours.high
        assert control.comparison is not None
        assert control.comparison.test == "McNemar's exact test"
        assert control.validation_comparison is not None
        # What one has right and the other wrong is the difference of their scores.
        rows = record.baseline.score.samples
        gained = (control.comparison.n_improved or 0) - (control.comparison.n_regressed or 0)
        difference = control.metrics.score.value - record.baseline.score.value
        assert gained == pytest.approx(rows * difference)
    assert (tfidf.metrics.latency, tfidf.speedup) == ((), ())
    assert tfidf.metrics.runtime == "scikit-learn"
    assert len(int8.speedup) == len(int8.metrics.latency) == len(record.speedup)
    assert int8.metrics.precision == "int8"
    assert int8.metrics.size_bytes < record.baseline.size_bytes / 2
    assert not list(folder.glob(".new-*"))
    assert {"controls", "export"}.isdisjoint(stage.name for stage in record.stages)
    assert read_record(write_record(record, folder)) == record


def test_a_run_of_the_same_format_has_the_figures_of_the_control(run_config: Runs) -> None:
    record = run_config("quantizer=int8_dynamic", "quantizer.embeddings=int8", ALWAYS)
    int8 = record.controls[1]
    assert int8.metrics is not None
    assert int8.metrics.score == record.metrics.score
    assert int8.metrics.layers == record.metrics.layers
    assert int8.comparison == record.comparison


@pytest.mark.parametrize("setting", ["controls=sweep", "controls=never"])
def test_a_single_run_has_none_unless_asked(setting: str, run_config: Runs, tmp_path: Path) -> None:
    assert compose_config().controls == "sweep"
    assert run_config(setting, folder=tmp_path / "run").controls == ()
    assert not found_in(tmp_path / "run")


def test_a_sweep_measures_them_once_for_what_they_depend_on(sweep: Sweeps, tmp_path: Path) -> None:
    first = sweep("0")
    [path] = found_in(tmp_path)
    content = json.loads(path.read_text())
    content[0]["recipe"] = "found in the folder"
    path.write_text(json.dumps(content))
    second = sweep("1", "quantizer=bf16")
    assert second.controls[0].recipe == "found in the folder"
    assert second.controls[1] == first.controls[1]
    assert sweep("2", "controls=never").controls == ()
    for other, words in enumerate(("task.limit=48", "device.benchmark.shapes=[[1,8]]")):
        assert sweep(f"other{other}", words).controls[0].recipe != "found in the folder"
    assert len(found_in(tmp_path)) == 3


def test_runs_that_begin_together_wait_for_the_first(
    sweep: Sweeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep("made", "controls=never")  # the stages are in the cache now
    compose_config(*TINY, "controls=sweep")  # and the files' config: Hydra composes one at a time
    made: list[str] = []

    def slowly(*_: Any) -> Control:
        made.append("x")
        time.sleep(0.3)
        return Control("slow", absent="it is a test")

    monkeypatch.setattr(controls, "_tfidf", slowly)
    monkeypatch.setattr(controls, "_int8_teacher", lambda *_: Control("fast", absent="so is it"))
    found: dict[str, FinishedRun] = {}
    # A file is locked against other threads as it is against other processes.
    threads = [
        threading.Thread(target=lambda name=name: found.update({name: sweep(name)}))
        for name in ("a", "b")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == ["x"]
    assert found["a"].controls == found["b"].controls != ()


@pytest.mark.slow
def test_folds_have_controls_of_their_own(sweep: Sweeps, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(
        "text,label\n" + "".join(f"film {i % 2} {i % 3} is {i},{i % 2}\n" for i in range(60))
    )
    task = ("task=csv", f"task.path={tmp_path / 'mine.csv'}", "task.split.folds=2")
    record = sweep("0", *task)
    assert record.folds is not None
    folds = [read_record(tmp_path / "0" / name / "metrics.json") for name in record.folds.folders]
    assert len(found_in(tmp_path)) == 2
    for place, control in enumerate(record.controls):
        values = []
        for fold in folds:
            assert fold.status == "ok"
            metrics = fold.controls[place].metrics
            assert metrics is not None
            values.append(metrics.score.value)
        assert control.metrics is not None
        assert control.metrics.score.value == pytest.approx(sum(values) / 2)
        assert control.metrics.score.samples == 60


def test_what_there_is_no_control_of_says_why(
    run_config: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise UserError("not today")

    monkeypatch.setattr(controls, "int8_format", refuse)
    monkeypatch.setattr(controls, "fit_tfidf", refuse)
    record = run_config(ALWAYS)
    assert [(each.absent, each.metrics) for each in record.controls] == [("not today", None)] * 2


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("cpu", "Int8Dynamic"),
        ("cpu_onnxruntime", "Int8Dynamic"),
        ("cpu_openvino", "Int8Static"),
        ("cuda", "Int8WeightOnly"),
    ],
)
def test_each_device_has_its_own_format(
    choice: str, expected: str, teacher: CompressedModel
) -> None:
    made = settings_of("device", choice)
    assert isinstance(made, Device)
    found = int8_format(made, teacher.module)
    assert (type(found).__name__, found.describe()["embeddings"]) == (expected, "int8")


def test_a_model_without_token_embeddings_keeps_those_it_has(
    teachers: Callable[[str], CompressedModel], device: Device
) -> None:
    assert int8_format(device, teachers("vit").module).describe()["embeddings"] == "none"


def test_where_no_format_works_each_reason_is_given(
    teacher: CompressedModel, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controls, "FORMATS", ("int8_static",))
    with pytest.raises(UserError, match="quantizer=int8_static is not supported by the torch"):
        int8_format(device, teacher.module)


@pytest.mark.parametrize("runtime", slow(["onnxruntime", "openvino"]))
def test_other_runtimes_measure_the_teacher_in_their_own_int8(
    runtime: str, run_config: Runs
) -> None:
    pytest.importorskip(runtime)
    _, int8 = run_config(f"device=cpu_{runtime}", ALWAYS).controls
    assert int8.absent is None
    assert int8.metrics is not None
    assert int8.metrics.runtime == runtime
