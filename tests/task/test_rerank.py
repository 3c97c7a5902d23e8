"""Candidates of queries: rows, bad rows, and a whole run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import transformers

import compress
from compress.config.errors import UserError
from compress.interfaces import TaskData
from compress.records.schema import FinishedRun
from compress.task.rerank import Rerank
from tests.architectures import build
from tests.configs import settings_of
from tests.vocabularies import WORDS

ROWS = [
    (f"{WORDS[n]} {WORDS[n - 1]}", f"{WORDS[n]} {WORDS[k]} {WORDS[k + 1]}", int(k < 3))
    for n in range(20)
    for k in range(6)
]


def write(folder: Path, rows: list[tuple[object, ...]], name: str = "rows.csv") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    lines = ["query,document,relevance", *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines))
    return path


def read(path: Path, *settings: str) -> TaskData:
    made = settings_of("task", "rerank", f"task.path={path}", *settings)
    assert isinstance(made, Rerank)
    made.check()
    return made.load()


def test_queries_stay_together(tmp_path: Path) -> None:
    data = read(write(tmp_path, [*ROWS]))
    splits = (data.training.train, data.training.validation, data.evaluation)
    queries = [set(split.columns[0]) for split in splits]
    assert [len(each) for each in queries] == [12, 2, 6]
    assert not any(one & other for one in queries for other in queries if one is not other)
    assert [len(split) for split in splits] == [72, 12, 36]
    labels = data.evaluation.labels
    numbers = {text: n for text, n in zip(data.evaluation.columns[0], labels[:, 0], strict=True)}
    assert sorted(numbers.values()) == list(range(6))
    assert labels[:, 1].sum() == 18
    assert "120 candidates of 20 queries" in data.source


def test_queries_of_other_files_are_apart(tmp_path: Path) -> None:
    other = write(tmp_path, [(ROWS[0][0].upper(), "x", 1), ("new", "y", 1)], "test.csv")
    data = read(write(tmp_path, [*ROWS]), f"task.split.evaluation_path={other}", "task.limit=3")
    assert len(data.evaluation) == 2
    held = {text.casefold() for text in data.evaluation.columns[0]}
    assert not held & {*data.training.train.columns[0], *data.training.validation.columns[0]}
    assert "1 query dropped from" in data.source
    assert len(set(data.training.train.columns[0])) == 3


BAD: dict[str, tuple[list[tuple[object, ...]], str]] = {
    "no document": ([*ROWS, ("q", "", 1)], "row 121 has an empty text"),
    "no grade": ([*ROWS, ("q", "d", "")], "row 121 has no label"),
    "a high grade": ([*ROWS, ("q", "d", 2)], "row 121 has relevance 2, expected 0 to 1"),
    "a word": ([*ROWS, ("q", "d", "yes")], "row 121 has relevance 'yes', expected a finite"),
    "nothing relevant": (
        [*ROWS, ("q", "d", 0), ("p", "d", 0)],
        r"query 'q' has no relevant document, .* above 0 \(2 such queries\)",
    ),
    "a pair twice": (
        [*ROWS, (*ROWS[3][:2], 1)],
        r"row 121 has the query and document of a row before it \(1 such rows\)",
    ),
    "two queries": ([*ROWS[:12]], "has 2 queries, expected at least 3"),
}


def test_what_is_dropped_is_counted(tmp_path: Path) -> None:
    rows = [*ROWS, ("q", "d", 0), ("p", "", 1), ROWS[0], ("r", "d", "")]
    drop = "task.drop=[empty,unlabeled,duplicates,unanswered]"
    data = read(write(tmp_path, rows), drop)
    assert "120 candidates of 20 queries" in data.source
    for words in ("an empty text", "no label", "1 duplicate texts", "1 queries without a relevant"):
        assert words in data.source


@pytest.mark.parametrize("what", BAD)
def test_bad_rows_are_refused_in_one_line(what: str, tmp_path: Path) -> None:
    rows, words = BAD[what]
    path = write(tmp_path, rows)
    with pytest.raises(UserError, match=words) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_run_ranks_candidates(run_config: Callable[..., FinishedRun], tmp_path: Path) -> None:
    record = run_config(
        *("task=rerank", f"task.path={write(tmp_path / 'rows', [*ROWS])}", "task.max_length=24"),
        *("teacher=local", f"teacher.path={build('bert', tmp_path / 'model')}"),
        *("teacher.finetune.epochs=1", "student=layers", "student.keep=2"),
        *("student.distillation.epochs=1", "quantizer=int8_dynamic", "device=cpu_onnxruntime"),
        folder=tmp_path / "run",
    )
    assert (record.metrics.score.metric, *record.metrics.score.others) == (
        "ndcg_at_10",
        "mrr_at_10",
    )
    model = compress.load(tmp_path / "run" / "model")
    logits = model.logits(["a query"] * 2, ["one", "two three"])
    assert logits.shape == (2, 1)
    config = transformers.AutoConfig.from_pretrained(tmp_path / "run" / "model")
    assert config.id2label == {0: "relevance"}
