"""Entities of texts, from models of every runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import transformers

import compress
from compress.records.schema import FinishedRun
from compress.serve.tagging import word_probabilities
from compress.serve.words import Window, token_counts, windows, word_spans
from tests.architectures import build, sentences, write_tables, write_tags

Runs = Callable[..., FinishedRun]
TEXT = "The Tower Bridge, in London."


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TEXT, ["The", "Tower", "Bridge", ",", "in", "London", "."]),
        ("@ada's e-mail: a.b@c.de!", ["@ada's", "e-mail", ":", "a.b@c.de", "!"]),
        ("$1,234.5 (#tag)", ["$", "1,234.5", "(", "#tag", ")"]),
        ("दिल्ली में", ["दिल्ली", "में"]),
        (" \n ", []),
    ],
)
def test_words_of_a_text(text: str, words: list[str]) -> None:
    assert [text[slice(*span)] for span in word_spans(text)] == words


def test_windows_by_hand() -> None:
    assert list(windows([1] * 5, 8)) == [Window(0, 5, 0, 5)]
    found = list(windows([1] * 14, 8))
    assert found == [Window(0, 8, 0, 7), Window(6, 14, 7, 14)]
    assert list(windows([9, 1], 8)) == [Window(0, 1, 0, 1), Window(1, 2, 1, 2)]
    assert token_counts([(0, 2), (3, 4)], [(0, 0), (0, 1), (1, 2), (3, 4), (0, 0)]) == [2, 1]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """A model that tags words, and rows for it."""
    home = tmp_path_factory.mktemp("tags")
    tables = write_tables(home, {"train": 24, "validation": 8, "evaluation": 8})
    rows = write_tags(home, tables)
    model = build("bert_tags", home / "model")
    return (
        "task=conll", f"task.path={rows['train']}", "task.max_length=24",
        f"task.split.validation_path={rows['validation']}",
        f"task.split.evaluation_path={rows['evaluation']}",
        "teacher=local", f"teacher.path={model}", "teacher.finetune.epochs=0",
    )  # fmt: skip


@pytest.mark.parametrize("device", ["cpu", "cpu_onnxruntime", "cpu_openvino"])
def test_entities_are_those_of_plain_transformers(
    device: str, files: tuple[str, ...], run_config: Runs, tmp_path: Path
) -> None:
    """Those of transformers' own pipeline, where words are such that both split them alike."""
    run_config(*files, f"device={device}", folder=tmp_path / "run")
    model = compress.load(tmp_path / "run" / "model")
    texts = ["", *sentences(12, 5)]
    found = model.entities(texts)
    assert found[0] == []
    assert sum(map(len, found)) > 3
    folder = next(each.removeprefix("teacher.path=") for each in files if "teacher.path" in each)
    pipeline = transformers.pipeline(
        "token-classification", model=folder, aggregation_strategy="first"
    )
    for text, ours in zip(texts[1:], found[1:], strict=True):
        theirs = pipeline(text)
        assert [(e["type"], e["start"], e["end"]) for e in ours] == [
            (e["entity_group"], e["start"], e["end"]) for e in theirs
        ]
        assert [text[e["start"] : e["end"]] for e in ours] == [e["text"] for e in ours]
        scores = [e["score"] for e in theirs]
        assert np.allclose([e["score"] for e in ours], scores, atol=1e-4)


def test_a_long_text_is_read_in_parts(
    files: tuple[str, ...], run_config: Runs, tmp_path: Path
) -> None:
    run_config(*files, folder=tmp_path / "run")
    model = compress.load(tmp_path / "run" / "model")
    encoder, session = model._encoder, model._session
    assert encoder is not None
    words = ["movie", "good", "bad", "film"] * 40
    [likely] = word_probabilities(session, encoder, model.outputs, [words])
    assert len(likely) == 160
    # The beginning of the text is the beginning of its first part.
    [first] = word_probabilities(session, encoder, model.outputs, [words[:20]])
    assert np.allclose(likely[:8], first[:8], atol=0.5)
    assert all(abs(row.sum() - 1) < 1e-9 for row in likely)
    assert len(model.entities([" ".join(words)])) == 1


def test_other_models_tag_nothing(run_config: Runs, tmp_path: Path) -> None:
    run_config(folder=tmp_path / "run")
    model = compress.load(tmp_path / "run" / "model")
    with pytest.raises(TypeError, match="the model tags no words"):
        model.entities(["a text"])
