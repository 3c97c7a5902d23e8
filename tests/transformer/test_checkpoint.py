"""Checkpoints as others save them, held against rows before anything is trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import transformers

from compress.config.errors import UserError
from compress.core.problem import Problem
from compress.interfaces import CompressedModel, StageContext, TrainingData
from compress.measure.score import predict_all
from compress.problem.classification import Classification
from compress.problem.regression import Regression
from compress.serve.folder import read_manifest
from compress.store.cache_root import is_entry
from compress.teacher.pretrained import PretrainedTeacher
from compress.transformer.checkpoint import read_checkpoint
from compress.transformer.torch_model import TorchModel
from tests.checkpoints import logits_alone, save_checkpoint, small_tokenizer
from tests.configs import settings_of
from tests.conftest import Runs
from tests.tiny import NO_TRAINING, make_split, tiny_image_model

Contexts = Callable[[CompressedModel], StageContext]
WORDS = ["a", "glad", "bright", "film", "with", "a", "good", "end", "number", "3"]


def as_bfloat16_shards(folder: Path) -> None:
    module = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    module.to(torch.bfloat16).save_pretrained(folder, max_shard_size="5KB")


def without_attributes(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "return_dict": False}))


def nothing(folder: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("architecture", "settings", "config", "change"),
    [
        ("bert", {}, {}, as_bfloat16_shards),
        ("bert", {}, {}, without_attributes),
        ("bert", {"types": True}, {}, nothing),
        ("distilbert", {"types": True}, {}, nothing),
        ("roberta", {}, {"vocab_size": 64}, nothing),
        ("gpt2", {"frame": False, "padding_side": "left"}, {}, nothing),
        ("llama", {"frame": False, "pad": None}, {}, nothing),
        ("xlnet", {}, {}, nothing),
    ],
)
@pytest.mark.parametrize("names", [("sad", "glad"), ("GLAD", "Sad"), None])
def test_each_row_gets_the_logits_of_plain_transformers(
    names: tuple[str, ...] | None, architecture: str, settings: dict[str, Any],
    config: dict[str, Any], change: Callable[[Path], None], data: TrainingData, tmp_path: Path,
) -> None:  # fmt: skip
    folder = tmp_path / "epoch=3,step=[900] best (é)"
    save_checkpoint(
        folder, architecture, names=names, tokenizer=small_tokenizer(**settings), **config
    )
    change(folder)
    plain = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, return_dict=True
    ).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    if architecture == "distilbert":
        tokenizer.model_input_names = ["input_ids", "attention_mask"]
    rows = list(zip(*data.validation.columns, strict=True))
    expected = logits_alone(plain, tokenizer, rows)
    module, processor, notes = read_checkpoint(folder, data, trained=False)
    found = predict_all(TorchModel(module, processor, "cpu"), data.validation, 8)
    order = notes.get("class_order", [0, 1])
    torch.testing.assert_close(found, expected[:, order], rtol=1e-4, atol=1e-5)
    assert order == ([1, 0] if names == ("GLAD", "Sad") else [0, 1])
    assert ("classes" in notes) == (names is None)
    assert module.config.id2label == {0: "sad", 1: "glad"}


@pytest.mark.parametrize(
    ("names", "problem", "reason"),
    [
        (("cat", "dog"), Classification(("sad", "glad")), "has the classes cat, "),
        (("one",), Classification(("sad", "glad")), "has no head for 2 classes (sad, glad), but o"),
        (("a", "b"), Regression("stars"), "has no head for 1 classes (stars), but one for 2"),
    ],
)
def test_other_classes_are_refused_before_weights_are_read(
    names: tuple[str, ...], problem: Problem, reason: str, data: TrainingData, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path, names=names)
    (tmp_path / "model.safetensors").write_bytes(b"unread")
    with pytest.raises(UserError) as caught:
        read_checkpoint(tmp_path, replace(data, problem=problem), trained=False)
    assert reason in str(caught.value)
    assert str(caught.value).endswith("; fine-tune it with epochs > 0")


@pytest.mark.parametrize("names", [("cat", "dog"), ("one",), ("a", "b", "c")])
def test_other_classes_may_be_trained_upon(
    names: tuple[str, ...], data: TrainingData, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path, names=names)
    module, _, notes = read_checkpoint(tmp_path, data, trained=True)
    assert module.config.id2label == {0: "sad", 1: "glad"}
    assert notes == {}


def test_training_begins_with_the_classes_in_order(data: TrainingData, tmp_path: Path) -> None:
    plain = save_checkpoint(tmp_path, names=("glad", "sad"))
    module, _, notes = read_checkpoint(tmp_path, data, trained=True)
    assert notes == {"class_order": [1, 0]}
    assert torch.equal(module.classifier.weight, plain.classifier.weight.flip(0))
    assert torch.equal(module.classifier.bias, plain.classifier.bias.flip(0))


@pytest.mark.parametrize(
    ("size", "channels", "reason"),
    [(16, 3, r"cannot read the task's rows: ValueError: .*16"), (8, 1, "cannot read the task's r")],
)
def test_images_of_another_size_are_refused(
    size: int, channels: int, reason: str, tmp_path: Path
) -> None:
    model = tiny_image_model("vit")
    if channels == 1:
        config = transformers.ViTConfig(**{**model.module.config.to_diff_dict(), "num_channels": 1})
        transformers.ViTForImageClassification(config).save_pretrained(tmp_path)
    else:
        model.module.save_pretrained(tmp_path)
    transformers.ViTImageProcessorPil(size={"height": size, "width": size}).save_pretrained(
        tmp_path
    )
    digits = settings_of("task", "digits", "task.limit=40").load()  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=reason) as caught:
        read_checkpoint(tmp_path, digits.training, trained=True)
    assert "\n" not in str(caught.value)


def labelled_rows(folder: Path, *, lower: bool) -> Path:
    """Rows labeled by a checkpoint's predictions, with its class names or in lower case."""
    module = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = [
        " ".join([*WORDS[start : start + count], str(number)])
        for start in range(5) for count in range(1, 6) for number in range(0, 24, 3)
    ]  # fmt: skip
    said = logits_alone(module, tokenizer, [[text] for text in texts])
    with torch.no_grad():
        # Half of the rows for each class.
        module.classifier.bias[0] -= (said[:, 0] - said[:, 1]).median()
    module.save_pretrained(folder)
    said = logits_alone(module, tokenizer, [[text] for text in texts]).argmax(dim=1)
    labels = [module.config.id2label[int(index)] for index in said]
    labels = [label.lower() for label in labels] if lower else labels
    path = folder.parent / "rows.csv"
    pd.DataFrame({"text": texts, "label": labels}).to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    ("names", "lower"), [(("b", "a"), False), (("a", "b"), False), (("POSITIVE", "NEGATIVE"), True)]
)
def test_a_run_of_a_checkpoint_that_knows_the_labels_has_them_all_right(
    names: tuple[str, str], lower: bool, run_config: Runs, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "model", names=names)
    rows = labelled_rows(tmp_path / "model", lower=lower)
    record = run_config(
        "teacher=local", f"teacher.path={tmp_path / 'model'}", "teacher.finetune.epochs=0",
        "task=csv", f"task.path={rows}", "task.max_length=32",
    )  # fmt: skip
    assert record.baseline.score.value == 1.0
    notes = record.history[0]["notes"]
    assert notes.get("class_order") == (None if names == ("a", "b") else [1, 0])


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_run_of_a_decoder_without_padding_records_which_token_serves(
    epochs: int, run_config: Runs, tmp_path: Path
) -> None:
    tokenizer = small_tokenizer(frame=False, pad=None)
    save_checkpoint(tmp_path / "model", "llama", names=("neg", "pos"), tokenizer=tokenizer)
    table = [(" ".join(WORDS[: 1 + n % 9]) + f" {n}", ("neg", "pos")[n % 2]) for n in range(60)]
    pd.DataFrame(table, columns=["text", "label"]).to_csv(tmp_path / "rows.csv", index=False)
    folder = tmp_path / "run"
    record = run_config(
        "teacher=local", f"teacher.path={tmp_path / 'model'}", f"teacher.finetune.epochs={epochs}",
        "task=csv", f"task.path={tmp_path / 'rows.csv'}", "task.max_length=32", folder=folder,
    )  # fmt: skip
    assert record.history[0]["notes"]["pad_token"] == "[SEP]"
    saved = transformers.AutoTokenizer.from_pretrained(folder / "model")
    config = transformers.AutoConfig.from_pretrained(folder / "model")
    assert saved.pad_token_id == config.pad_token_id == tokenizer.eos_token_id
    assert read_manifest(folder / "model").history[0].notes["pad_token"] == "[SEP]"


def spoiled(folder: Path, how: str) -> str:
    """A student that cannot be built, and the setting that causes it."""
    if how == "classes":
        save_checkpoint(folder, names=("cat", "dog"))
    elif how == "padding":
        save_checkpoint(folder, "fnet", names=None)
    elif how == "weights":
        module = save_checkpoint(folder, names=None)
        module.classifier.bias.data.fill_(float("nan"))
        module.save_pretrained(folder)
    elif how == "head":
        body = save_checkpoint(folder, names=None).base_model
        body.save_pretrained(folder)
    return f"student.distillation.epochs={1 if how == 'padding' else 0}"


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("classes", "has the classes cat, dog, expected the task's:"),
        ("padding", "depend on the padding of a row"),
        ("weights", "its logits are not finite"),
        ("head", "has no head for 2 classes"),
    ],
)
def test_a_student_is_held_against_the_rows_before_the_teacher_is_made(
    how: str, reason: str, run_config: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(*_: object) -> None:
        raise AssertionError("work has begun")

    monkeypatch.setattr("compress.teacher.tiny_random.TinyRandomTeacher.load", made)
    epochs = spoiled(tmp_path / "student", how)
    cache = tmp_path / "cache"
    student = ("student=pretrained", f"student.path={tmp_path / 'student'}", epochs)
    with pytest.raises(UserError, match=reason):
        run_config(*student, "task.max_length=48", "teacher.finetune.epochs=1", cache=cache)
    assert not [path for path in cache.rglob("*") if is_entry(path)]


def test_a_student_in_another_order_is_put_in_order(
    teacher: CompressedModel, context: Contexts, tmp_path: Path
) -> None:
    plain = save_checkpoint(tmp_path, names=("glad", "sad"))
    student = settings_of(
        "student", "pretrained", f"student.path={tmp_path}", "student.distillation.epochs=0"
    )
    made = student.distill(context(teacher))  # type: ignore[attr-defined]
    assert torch.equal(made.module.classifier.weight, plain.classifier.weight.flip(0))
    assert made.history[-1].notes == {"class_order": [1, 0]}


def test_what_a_teacher_makes_does_not_hang_on_its_students_check(
    data: TrainingData, tmp_path: Path
) -> None:
    """The check draws a head at random."""
    body = save_checkpoint(tmp_path).base_model
    body.save_pretrained(tmp_path)
    student = settings_of("student", "pretrained", f"student.path={tmp_path}")
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    student.check_rows(data)  # type: ignore[attr-defined]
    assert torch.equal(torch.rand(1), expected)


def test_a_teacher_that_was_read_and_written_is_read_alike(
    data: TrainingData, tmp_path: Path
) -> None:
    """Side and token of the padding are in the files."""
    tokenizer = small_tokenizer(frame=False, pad=None, padding_side="left")
    save_checkpoint(tmp_path / "a", "gpt2", tokenizer=tokenizer)
    made = []
    for name in ("a", "b"):
        teacher = PretrainedTeacher(path=str(tmp_path / name), revision=None, finetune=NO_TRAINING)
        model = teacher.load(data, settings_of("device", "cpu"), 0)  # type: ignore[arg-type]
        made.append(model)
        for part in (model.module, model.tokenizer):
            part.save_pretrained(tmp_path / "b")
    assert made[0].history[0].notes == {
        "pad_token": "[SEP]", "pad_token_id": 3, "padding_side": "right"
    }  # fmt: skip
    assert made[1].history[0].notes == {}
    rows = make_split(8)
    found = [predict_all(TorchModel(m.module, m.tokenizer, "cpu"), rows, 8) for m in made]
    assert torch.equal(*found)
