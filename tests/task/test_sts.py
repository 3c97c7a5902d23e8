"""Pairs of texts and how much alike they are: rows, bad rows, and whole runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import pytest
import torch
import transformers
from sentence_transformers import SentenceTransformer

import compress
from compress.config.errors import ConfigError, UserError
from compress.core.problem import TEXTS
from compress.interfaces import TaskData
from compress.records.curve import curves
from compress.records.schema import FinishedRun
from compress.task.components.embedded_rows import EmbeddedSplit, by_length
from compress.task.sts import Sts
from tests.architectures import build, sentences, write_pairs, write_tables
from tests.configs import settings_of
from tests.vocabularies import CLASSIFIER, make_tokenizer

ROWS = [f"a {n} text,text {n},{n % 6}" for n in range(30)]


def write(folder: Path, rows: list[str]) -> Path:
    path = folder / "pairs.csv"
    path.write_text("\n".join(["sentence1,sentence2,score", *rows]))
    return path


def task(path: Path, *settings: str) -> Sts:
    made = settings_of("task", "sts", f"task.path={path}", *settings)
    assert isinstance(made, Sts)
    return made


def read(made: Sts) -> TaskData:
    made.check()
    return made.load()


def test_splits_are_of_different_pairs(tmp_path: Path) -> None:
    again = ["A 3 text!,text 3,2", "text 3,a 3 text,1"]
    data = task(write(tmp_path, ROWS + again), "task.prefix='query: '").load()
    splits = (data.training.train, data.training.validation, data.evaluation)
    keys = [{frozenset(pair) for pair in split._rows} for split in splits]  # type: ignore[attr-defined]
    assert not any(one & other for one in keys for other in keys if one is not other)
    assert all(text.startswith("query: ") for split in splits for text in split.columns[0])
    assert data.evaluation.labels.dtype == torch.float32
    assert set(data.evaluation.labels.tolist()) <= set(range(6))


def test_tokens_of_a_row_are_apart_in_a_batch() -> None:
    rows = [("one two", "three"), ("two", "one two three four")]
    split = EmbeddedSplit("rows", rows, 6, torch.tensor([1.0, 2.0]))
    tokenizer = make_tokenizer(
        "wordpiece", CLASSIFIER, inputs=("input_ids", "attention_mask"), pads=True, side="right"
    )
    encoded = split.encode(tokenizer)
    assert len(encoded) == len(split) == 2
    assert split.columns == [["one two", "three", "two", "one two three four"]]
    columns = encoded.remove_columns("length")
    batch = split.batch(tokenizer, [columns[0], columns[1]])
    plain = tokenizer(split.columns[0], truncation=True, max_length=6, padding=True)
    assert batch["input_ids"].tolist() == plain["input_ids"]
    assert batch["attention_mask"].tolist() == plain["attention_mask"]
    assert batch[TEXTS].tolist() == [2, 2]
    assert encoded["length"][1] == 6
    assert split.truncated(tokenizer) >= 0.25


def test_changed_copies_are_rows_with_the_same_labels() -> None:
    split = EmbeddedSplit("rows", [("a", "b"), ("c", "d")], 6, torch.tensor([1.0, 2.0]))
    more = split.extended("more", [[*"ABCDWXYZ"]])
    assert more.columns == [[*"abcdABCDWXYZ"]]
    assert more.labels.tolist() == [1, 2] * 3
    assert len(more) == 6


def test_texts_are_put_together_by_length() -> None:
    assert by_length(["ccc", "a", "dddd", "bb", "e"], 2) == [
        ("a", "e"), ("bb", "ccc"), ("dddd", "a"),
    ]  # fmt: skip


BAD: dict[str, tuple[list[str], tuple[str, ...], str]] = {
    "text": ([*ROWS, "one,,3"], (), "row 31 has an empty text"),
    "no score": ([*ROWS, "one,two,"], (), "row 31 has no label"),
    "words": ([*ROWS, "one,two,much"], (), "row 31 has score 'much', expected a finite number"),
    "high": ([*ROWS, "one,two,5.5"], (), "row 31 has score 5.5, expected 0 to 5"),
    "negative": ([*ROWS, "one,two,-1"], (), "row 31 has score -1, expected 0 to 5"),
    "another scale": (
        [f"a {n} text,text {n},{n / 30}" for n in range(30)],
        (),
        "the largest score is 0.966667 and task.highest is 5; set it to the score of texts that",
    ),
    "few": (["one,two,5"], (), "too few"),
    "column": (ROWS, ("task.label=likeness",), "column 'likeness' is not among"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_rows_are_refused_in_one_line(what: str, tmp_path: Path) -> None:
    rows, settings, words = BAD[what]
    made = task(write(tmp_path, rows), *settings)
    with pytest.raises(UserError, match=words) as caught:
        read(made)
    assert "\n" not in str(caught.value)


def test_columns_must_differ(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be three columns, got a, score and score"):
        task(write(tmp_path, ROWS), "task.text=[a,score]")


def test_dropped_rows_are_counted(tmp_path: Path) -> None:
    rows = [*ROWS, "one,,3", "one,two,"]
    data = task(write(tmp_path, rows), "task.drop=[empty,unlabeled]").load()
    assert "1 rows with an empty text dropped, 1 rows with no label dropped" in data.source


def test_transfer_text_is_without_held_out_texts(tmp_path: Path) -> None:
    texts = [*sentences(9, 1), *(row.split(",")[0] for row in ROWS)]
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    made = task(
        write(tmp_path, ROWS), "task/transfer=textfile", f"task.transfer.path={tmp_path}/texts.txt"
    )
    data = made.load()
    assert data.training.unlabeled is not None
    assert data.transfer is not None
    found = {text for text in data.training.unlabeled.columns[0]}
    assert set(sentences(9, 1)) <= found
    assert not found & {*data.evaluation.columns[0], *data.training.validation.columns[0]}
    assert data.transfer.rows == len(found)
    labels = data.training.learned.labels
    assert len(labels) == len(data.training.train) < len(data.training.learned)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """An embedder, and rows for it."""
    home = tmp_path_factory.mktemp("sts")
    rows = write_pairs(home, write_tables(home, {"train": 24, "validation": 8, "evaluation": 8}))
    model = build("bert_embed", home / "model")
    return (
        "task=sts", f"task.path={rows['train']}", "task.max_length=24",
        f"task.split.validation_path={rows['validation']}",
        f"task.split.evaluation_path={rows['evaluation']}",
        "teacher=local", f"teacher.path={model}", "teacher.finetune.epochs=0",
    )  # fmt: skip


def token_states(folder: Path, device: str, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """What the backends of sentence-transformers pool: an output of this name, and the mask."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    batch = dict(tokenizer(texts, padding=True, return_tensors="np"))
    if device == "cpu_onnxruntime":
        session = onnxruntime.InferenceSession(folder / "model.onnx")
        names = [each.name for each in session.get_inputs()]
        found = session.run(["last_hidden_state"], {name: batch[name] for name in names})[0]
        return found, batch["attention_mask"]
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(folder / "openvino_model.xml", "CPU", exact)
    names = [each.get_any_name() for each in model.inputs]
    outputs = model({name: batch[name] for name in names})
    return outputs["last_hidden_state"], batch["attention_mask"]


@pytest.mark.parametrize("device", ["cpu", "cpu_onnxruntime", "cpu_openvino"])
def test_vectors_are_those_of_sentence_transformers(
    device: str, files: tuple[str, ...], run_config: Callable[..., FinishedRun], tmp_path: Path
) -> None:
    record = run_config(*files, f"device={device}", folder=tmp_path / "run")
    assert record.metrics.score.metric == "spearman"
    model = compress.load(tmp_path / "run" / "model")
    texts = list(sentences(40, 5))
    folder = next(each.removeprefix("teacher.path=") for each in files if "teacher.path" in each)
    theirs = SentenceTransformer(folder, device="cpu").encode(texts)
    found = model.embed(texts)
    assert abs(found - theirs).max() < 1e-5
    with pytest.raises(TypeError, match="reads single texts"):
        model.logits(texts, texts)
    with pytest.raises(TypeError, match="the model tags no words"):
        model.entities(texts)
    with pytest.raises(TypeError, match="the model has no classes"):
        model.classify(texts)
    if device == "cpu":
        again = SentenceTransformer(str(tmp_path / "run" / "model"), device="cpu")
        assert abs(again.encode(texts) - theirs).max() < 1e-5
        assert again.max_seq_length == 24
        card = (tmp_path / "run" / "model" / "README.md").read_text()
        assert "SentenceTransformer(" in card
        assert 'library_name: "sentence-transformers"' in card
    else:
        states, mask = token_states(tmp_path / "run" / "model", device, texts[:4])
        means = (states * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        assert abs(means - theirs[:4]).max() < 1e-5
        assert "model.embed(" in (tmp_path / "run" / "model" / "README.md").read_text()


@pytest.mark.parametrize(
    "student",
    [
        ("student=layers", "student.keep=2"),
        ("student=scratch", "student.layers=2", "student.hidden=16", "student.heads=2",
         "student.neurons=32"),
    ],
)  # fmt: skip
def test_a_student_learns_vectors_without_labels(
    student: tuple[str, ...],
    files: tuple[str, ...],
    run_config: Callable[..., FinishedRun],
    tmp_path: Path,
) -> None:
    """Those of its teacher, or of another width their cosines."""
    how = ("alpha=1", "epochs=8", "batch_size=8", "learning_rate=3e-3")
    settings = [f"student.distillation.{each}" for each in how]
    record = run_config(*files, *student, *settings, folder=tmp_path / "run")
    module = transformers.AutoModel.from_pretrained(tmp_path / "run" / "model")
    assert module.config.num_hidden_layers == 2
    losses = [point.loss for point in dict(curves(record.history))["student"] if point.loss]
    assert losses[-1] < 0.7 * losses[0]
