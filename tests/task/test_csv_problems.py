from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from compress.config.errors import UserError
from compress.problem.classification import Classification
from compress.problem.multi_label import MultiLabel
from compress.problem.regression import Regression
from tests.configs import settings_of
from tests.task.tables import json_lines, load, parts, task, write


@pytest.mark.parametrize(
    ("given", "weights"),
    [
        ("balanced", "balanced"),
        ("[1,2.5]", (1.0, 2.5)),
        ("{sad:1,glad:2.5}", {"sad": 1.0, "glad": 2.5}),
        ("{0:1,1:2.5}", {0: 1.0, 1: 2.5}),
    ],
)
def test_class_weights_are_said_in_three_ways(given: str, weights: object) -> None:
    made = settings_of("task", "csv", "task.path=x", f"task.class_weights={given}")
    assert made.class_weights == weights


def test_class_weights_are_balanced_on_the_train_rows(tmp_path: Path) -> None:
    """Of 28 train rows 21 are cold and 7 warm: 28 / (2 · 21) and 28 / (2 · 7)."""
    table = [(f"text {i}", "warm" if i % 4 == 0 else "cold") for i in range(40)]
    data = load(write(tmp_path / "x.csv", table), class_weights="balanced")
    assert data.training.problem == Classification(
        ("cold", "warm"), ("f1_macro",), (pytest.approx(2 / 3), 2.0)
    )
    assert data.source.endswith("balanced on the train rows: cold 0.6667, warm 2")
    equal = load(tmp_path / "x.csv")
    assert equal.training.problem == Classification(("cold", "warm"))
    assert equal.training.digest != data.training.digest
    given = load(tmp_path / "x.csv", class_weights={"warm": 3, "cold": 1})
    assert given.training.problem == Classification(("cold", "warm"), weights=(1.0, 3.0))


def test_weights_are_balanced_on_the_rows_that_the_limit_leaves(tmp_path: Path) -> None:
    table = [(f"text {i}", f"rare {i % 3}" if i < 60 else "usual") for i in range(2000)]
    path = write(tmp_path / "x.csv", table)
    assert len(load(path, limit=10).training.train) == 10
    with pytest.raises(UserError, match=r"no row in the train split of 10, which .*=balanced"):
        load(path, limit=10, class_weights="balanced")


def test_numbers_are_learned_as_they_are(tmp_path: Path) -> None:
    table = [(f"text {i}", f"{i / 8}") for i in range(40)]
    made = task(write(tmp_path / "x.csv", table), problem="regression")
    data = made.load()
    assert data.training.problem == Regression("label")
    assert made.scores() == ("spearman", "pearson", "rmse")
    found = parts(data)
    assert {role: len(split) for role, split in found.items()} == {
        "train": 28, "validation": 4, "evaluation": 8,
    }  # fmt: skip
    assert found["evaluation"].labels.dtype == torch.float32
    assert sorted(x for split in found.values() for x in split.labels.tolist()) == [
        i / 8 for i in range(40)
    ]
    assert not made.smooths_labels()
    assert task(tmp_path / "x.csv").smooths_labels()
    sampled = task(tmp_path / "x.csv", problem="regression", limit=5).load()
    assert len(sampled.training.train) == 5


SPELT = [("0", "1"), ("false", "true"), ("no", "yes"), ("No", " TRUE "), ("0", "YES")]


@pytest.mark.parametrize("spelled", SPELT)
def test_several_columns_are_several_labels(spelled: tuple[str, str], tmp_path: Path) -> None:
    right = {f"text {i}": (i % 2, i % 3 // 2, 1) if i != 7 else (0, 0, 0) for i in range(40)}
    table = [
        ("text", "toxic", "x", "rude, or not"),
        *((text, *(spelled[each] for each in row)) for text, row in right.items()),
    ]
    path = tmp_path / "x.tsv"
    path.write_text("".join("\t".join(row) + "\n" for row in table))
    columns = ("rude, or not", "x", "toxic")
    made = task(path, label=columns)
    data = made.load()
    assert data.training.problem == MultiLabel(columns)
    assert made.scores()[0] == "f1_micro"
    assert made.smooths_labels()
    found = {
        text: tuple(row)
        for split in parts(data).values()
        for text, row in zip(split.columns[0], split.labels.tolist(), strict=True)
    }
    assert found == {text: row[::-1] for text, row in right.items()}
    # Row 7 alone has no label: it is in one of the splits all the same.
    assert (0, 0, 0) in found.values()


def test_labels_are_read_from_what_is_no_text(tmp_path: Path) -> None:
    answers = [(True, 1.0), (False, 0), (0, True)]
    table = [{"text": f"t{i}", "a": answers[i % 3][0], "b": answers[i % 3][1]} for i in range(30)]
    (tmp_path / "x.jsonl").write_bytes(json_lines(table))
    data = load(tmp_path / "x.jsonl", label=("a", "b"))
    rows = [tuple(row) for split in parts(data).values() for row in split.labels.tolist()]
    assert Counter(rows) == {(1, 1): 10, (0, 0): 10, (0, 1): 10}


def test_labels_are_weighted_by_the_rows_without_them(tmp_path: Path) -> None:
    """With a are 7 of 28 train rows, with b 14."""
    table = [("text", "a", "b"), *((f"t{i}", str(int(i % 4 == 0)), str(i % 2)) for i in range(40))]
    path = tmp_path / "x.csv"
    path.write_text("".join(",".join(row) + "\n" for row in table))
    made = task(path, label=("a", "b"), class_weights="balanced")
    data = made.load()
    assert data.training.problem == MultiLabel(("a", "b"), weights=(3.0, 1.0))
    assert made.scores()[-1] == "f1_class_weighted"
    assert data.source.endswith("balanced on the train rows: a 3, b 1")


def test_a_label_that_is_nowhere_in_a_held_out_split_is_told(tmp_path: Path) -> None:
    lines = [f"t{i},{i % 2},{int(i == 3)}" for i in range(40)]
    (tmp_path / "x.csv").write_text("\n".join(["text,a,b", *lines]))
    data = load(tmp_path / "x.csv", label=("a", "b"))
    assert "; no evaluation row has label 'b', whose F1 there is 0" in data.source
