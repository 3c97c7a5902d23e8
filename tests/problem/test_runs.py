"""Whole runs on what is no classification: student, pruner and format work on it unchanged."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from compress.config.errors import UserError
from compress.device.cpu import Cpu
from compress.interfaces import TrainingData
from compress.problem.multi_label import MultiLabel
from compress.problem.regression import Regression
from compress.records.schema import FinishedRun, read_record, write_record
from compress.store.artifact import load
from compress.teacher.artifact import ArtifactTeacher
from tests.configs import settings_of
from tests.tiny import tiny_teacher, torch_export

Runs = Callable[..., FinishedRun]
HOSTILE = 'a|b\n"<script>'
TRAINED = (
    "teacher.finetune.epochs=2",
    "teacher.finetune.learning_rate=5e-3",
    "student=layers",
    "student.distillation.epochs=1",
)
RUNTIMES = ("onnxruntime", "openvino")


@pytest.fixture
def stsb(tmp_path: Path) -> tuple[str, ...]:
    """Pairs whose score is how many of the five words of the first the second has."""
    words = ("cat", "sun", "tea", "map", "ice")
    rows = [
        "\t".join([*"0123456", " ".join(words), " ".join([*words[: i % 6], f"x{i}"]), f"{i % 6}"])
        for i in range(80)
    ]
    folder = tmp_path / "STS-B"
    folder.mkdir()
    header = "index genre filename year old_index source1 source2 sentence1 sentence2 score"
    for name, part in (("train.tsv", rows[:50]), ("dev.tsv", rows[50:])):
        (folder / name).write_text("\n".join(["\t".join(header.split()), *part]))
    return ("task=stsb", f"task.path={folder}", "objectives=[quality,size_bytes]")


@pytest.fixture
def labeled(tmp_path: Path) -> tuple[str, ...]:
    """Texts with a label for each of two words, one of them of a name to break pages with."""
    path = tmp_path / "mine.jsonl"
    rows = [
        {"text": f"{'wet ' * (i % 2)}{'cold ' * (i % 3 // 2)}day {i}", HOSTILE: i % 2,
         "cold": i % 3 // 2}
        for i in range(80)
    ]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, rows)))
    label = json.dumps([HOSTILE, "cold"])
    return (
        "task=csv",
        f"task.path={path}",
        f"task.label={label}".replace("\\n", "\n"),
        "objectives=[quality,size_bytes]",
    )


def check_controls(record: FinishedRun, name: str) -> None:
    """They are evaluated as the model is."""
    assert [control.name for control in record.controls] == [name, "teacher in int8"]
    for control in record.controls:
        assert control.metrics is not None
        assert control.comparison is not None
        assert control.metrics.score.metric == record.metrics.score.metric
        assert control.metrics.score.others.keys() == record.metrics.score.others.keys()
        assert control.comparison.test == record.comparison.test


def test_a_run_on_numbers(stsb: tuple[str, ...], run_config: Runs, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    record = run_config(
        *stsb, *TRAINED, "pruner=heads", "pruner.recovery.epochs=1", "quantizer=int8_dynamic",
        "controls=always", folder=folder,
    )  # fmt: skip
    score = record.metrics.score
    assert (score.metric, score.samples) == ("spearman", 30)
    assert score.low <= score.value == score.quality <= score.high
    assert set(score.others) == {"pearson", "rmse"}
    assert record.comparison.agreement is None
    check_controls(record, "TF-IDF + ridge regression")
    config = json.loads((folder / "model" / "config.json").read_text())
    assert config["id2label"] == {"0": "score"}
    assert config["problem_type"] == "regression"
    again = read_record(write_record(record, folder))
    assert (again.metrics, again.controls) == (record.metrics, record.controls)
    model = load(folder / "model")
    batch = model.tokenizer(["cat sun"], ["cat"], return_tensors="pt")
    assert model.predict(batch).shape == (1, 1)


def test_a_run_on_several_labels(
    labeled: tuple[str, ...], run_config: Runs, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    record = run_config(
        *labeled, *TRAINED, "task.class_weights=balanced", "quantizer=int8_dynamic",
        "pruner=lowrank", "pruner.weighting.method=fisher", "pruner.recovery.epochs=1",
        "student.distillation.label_smoothing=0.1", "controls=always", folder=folder,
    )  # fmt: skip
    score = record.metrics.score
    assert (score.metric, score.samples) == ("f1_micro", 16)
    assert score.low <= score.value <= score.high
    assert {f"f1/{HOSTILE}", "f1/cold", "f1_class_weighted", "exact_match"} <= set(score.others)
    check_controls(record, "TF-IDF + logistic regression")
    assert "weighted in the loss, balanced on the train rows" in record.data.source
    config = json.loads((folder / "model" / "config.json").read_text())
    assert config["id2label"] == {"0": HOSTILE, "1": "cold"}
    assert config["problem_type"] == "multi_label_classification"
    card = (folder / "model" / "README.md").read_text()
    assert HOSTILE not in card
    assert "<script>" not in card
    again = read_record(write_record(record, folder))
    assert (again.metrics, again.controls) == (record.metrics, record.controls)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_other_runtimes_run_them_unchanged(
    runtime: str, labeled: tuple[str, ...], run_config: Runs
) -> None:
    if importlib.util.find_spec(runtime) is None:
        pytest.skip(f"needs {runtime}")
    how = (f"device=cpu_{runtime}", "quantizer=int8_dynamic" if runtime == "onnxruntime" else "")
    record = run_config(*labeled, *filter(None, how))
    assert record.metrics.score.metric == "f1_micro"


def test_a_model_is_the_teacher_of_its_own_labels_alone(
    data: TrainingData, device: Cpu, tmp_path: Path
) -> None:
    numbers = replace(data, problem=Regression("stars"))
    model = tiny_teacher().load(numbers, device, 0)
    torch_export(model, settings_of("quantizer", "none"), tmp_path / "model")
    teacher = ArtifactTeacher(folder=str(tmp_path / "model"))
    assert teacher.load(numbers, device, 0).module.config.num_labels == 1
    with pytest.raises(UserError, match=r"no head for 2 classes \(a, b\), but one for 1 \(stars\)"):
        teacher.load(replace(data, problem=MultiLabel(("a", "b"))), device, 0)
