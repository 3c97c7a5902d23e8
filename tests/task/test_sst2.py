from __future__ import annotations

from pathlib import Path

import pytest

from compress.settings import UserError
from compress.task.sst2 import Sst2
from compress.task.text import TextSplit
from tests.conftest import SHARED, settings_of


def sst2(path: Path, *overrides: str) -> Sst2:
    made = settings_of("task", "sst2", f"task.path={path}", *overrides)
    assert isinstance(made, Sst2)
    return made


def write(folder: Path, name: str, rows: list[str], header: str = "sentence\tlabel") -> None:
    (folder / name).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "train.tsv", [f"row {i}\t{i % 2}" for i in range(50)])
    write(tmp_path, "dev.tsv", ['a "quoted word\t1', "NA\t0", "null \t0", "plain\t1"])
    return tmp_path


def test_a_folder_is_read_and_quotes_are_just_characters(folder: Path) -> None:
    task = sst2(folder)
    task.check()
    data = task.load()
    assert isinstance(data.evaluation, TextSplit)
    assert data.evaluation.texts == ['a "quoted word', "NA", "null ", "plain"]
    assert list(data.evaluation.labels) == [1, 0, 0, 1]
    assert (len(data.training.train), len(data.training.validation)) == (40, 10)
    train, validation = data.training.train, data.training.validation
    assert isinstance(train, TextSplit)
    assert isinstance(validation, TextSplit)
    assert not set(train.texts) & set(validation.texts)


@pytest.mark.parametrize("name", ["train.tsv", "dev.tsv"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"{name} does not exist"):
        sst2(folder).check()


@pytest.mark.parametrize("header", ["text\tlabel", "sentence,label", "", "sentence"])
def test_missing_columns_are_named_without_reading_rows(folder: Path, header: str) -> None:
    write(folder, "train.tsv", ["x\t1"], header)
    with pytest.raises(UserError, match=r"train\.tsv has columns .*; expected sentence, label"):
        sst2(folder).check()


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("fine\t2", "row 3 has label '2', allowed: 0, 1"),
        ("fine\tgood", "row 3 has label"),
        ("fine\t", "row 3 has label"),
        ("\t1", "row 3 has no text"),
        ("one\t1\ttoo many", "is no TSV"),
    ],
)
def test_bad_rows_are_named(folder: Path, row: str, reason: str) -> None:
    write(folder, "dev.tsv", ["a\t1", "b\t0", row])
    with pytest.raises(UserError, match=reason):
        sst2(folder).load()


@pytest.mark.slow
def test_the_published_files(tmp_path: Path) -> None:
    folder = SHARED / "data" / "glue" / "SST-2"
    if not folder.exists():
        pytest.skip("needs ../shared/data/glue/SST-2")
    data = sst2(folder).load()
    assert (len(data.training.train), len(data.training.validation)) == (67349 - 872, 872)
    assert len(data.evaluation) == 872
    assert sum(data.evaluation.labels) == 444
