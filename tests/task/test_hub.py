"""What a published dataset may have wrong is said in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Sequence, Value

from compress.config.errors import UserError
from compress.task.components.hub import IMAGES, TEXTS, Column, load_hub_dataset

COLUMNS = {"text": TEXTS, "label": Column("number", 0, 1)}
NEEDED = {"train": COLUMNS, "test": COLUMNS}
ROWS = {"text": ["good", "bad"], "label": [1, 0]}


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def refused(name: str = "some/rows", needed: Any = NEEDED) -> str:
    with pytest.raises(UserError) as caught:
        load_hub_dataset(name, None, "take task.source=offline", needed)
    line = str(caught.value)
    assert line.startswith(f"dataset {name}")
    assert "\n" not in line
    return line


def kinds_of_error() -> list[type[Exception]]:
    """Every kind that the library raises by itself, found in it."""
    found = {
        each
        for module in (datasets.exceptions, datasets.builder, datasets.table, datasets.data_files)
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Exception)
        if each.__module__.startswith("datasets.")
    }
    return sorted(found, key=lambda each: each.__name__)


@pytest.mark.parametrize(
    "kind",
    [*kinds_of_error(), ValueError, TypeError, KeyError, AttributeError, OSError, RuntimeError],
)
def test_every_kind_of_error(kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    error = kind.__new__(kind)
    error.args = ("what went wrong\nand much more",)

    def load(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("datasets.load_dataset", load)
    assert f"some/rows: {kind.__name__}: " in refused()


def test_the_library_has_more_than_a_dozen_of_them() -> None:
    assert {"DatasetGenerationError", "ExpectedMoreSplitsError"} <= {
        kind.__name__ for kind in kinds_of_error()
    }
    assert len(kinds_of_error()) > 12


CARD = """---
dataset_info:
  features:
  - name: text
    dtype: string
  - name: label
    dtype: {kind}
  splits:
  - name: train
    num_examples: {rows}
  - name: {split}
    num_examples: 2
---
"""


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "int64", "rows": 3, "split": "test"}, "NonMatchingSplitsSizesError"),
        ({"kind": "int64", "rows": 2, "split": "dev"}, "ExpectedMoreSplitsError"),
        ({"kind": "{class_label: 3}", "rows": 2, "split": "test"}, ": "),
        ({"kind": "no_such_kind", "rows": 2, "split": "test"}, ": "),
        ({"kind": "[", "rows": 2, "split": "test"}, ": "),
    ],
)
def test_a_card_that_disagrees_with_the_files(
    fields: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real folder, read by the library as it would read one of the hub."""
    for split in ("train", "test"):
        lines = [json.dumps({"text": "a", "label": i}) for i in range(2)]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines))
    (tmp_path / "README.md").write_text(CARD.format(**fields))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    assert said in refused(str(tmp_path))


def rows(features: Features | None = None, **columns: list[Any]) -> Dataset:
    return Dataset.from_dict({**ROWS, **columns}, features=features)


NO_ROWS = Features({"text": Value("string"), "label": ClassLabel(2)})


@pytest.mark.parametrize(
    ("train", "test", "said"),
    [
        (rows(), None, "has no split test, got train"),
        (rows(), rows().remove_columns("text"), "has columns label; expected t"),
        (rows(), rows(label=["1", "0"]), "label must be of kind number, got te"),
        (rows(text=[1, 2]), rows(), "text must be of kind text, got number"),
        (rows(text=[["a"], ["b"]]), rows(), "kind text, got List"),
        (rows(text=["a", None]), rows(), "split train: 1 rows have no text"),
        (rows(), rows(label=[0, -1]), "label goes from -1 to 0, expected num"),
        (rows(), rows(label=[0, 2]), "label goes from 0 to 2, expected numbers"),
        (rows(label=[0.0, float("nan")]), rows(), "label goes from nan to nan"),
        (rows(text=[], label=[]), rows(), "text must be of kind text, got null"),
        (rows(NO_ROWS, text=[], label=[]), rows(), "split train has no rows"),
    ],
)
def test_what_a_task_cannot_use(
    train: Dataset, test: Dataset | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = DatasetDict({"train": train} if test is None else {"train": train, "test": test})
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: found)
    assert said in refused()


@pytest.mark.parametrize(
    "features",
    [
        Features({"text": Value("string"), "label": ClassLabel(2)}),
        Features({"text": Value("large_string"), "label": Value("int8")}),
        Features({"text": Value("string"), "label": Value("float32")}),
    ],
)
def test_what_a_task_can_use(features: Features, monkeypatch: pytest.MonkeyPatch) -> None:
    found = DatasetDict(train=rows(features), test=rows(features))
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: found)
    assert load_hub_dataset("some/rows", None, "", NEEDED) is found


def test_images_are_told_from_what_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    images = Dataset.from_dict({"img": [None]}, features=Features({"img": Image()}))
    numbers = Dataset.from_dict({"img": [[1]]}, features=Features({"img": Sequence(Value("int8"))}))
    needed = {"train": {"img": IMAGES}}
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: DatasetDict(train=images))
    assert "1 rows have no img" in refused(needed=needed)
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: DatasetDict(train=numbers))
    assert "img must be of kind image, got " in refused(needed=needed)
