"""Bad data gets one clear line that says where, what was got, and what was expected."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from compress.config.errors import UserError
from compress.interfaces import Task
from compress.task.cifar10 import Cifar10
from compress.task.csv import Csv
from compress.task.glue import Glue
from compress.task.imagefolder import ImageFolder
from tests.configs import settings_of

GOOD = "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(40))
NUMBERS = "".join(f"text {i},{i / 8}\n" for i in range(40))
TWO = "".join(f"text {i},{i % 2},{i % 3 // 2}\n" for i in range(40))
AB = "text,a,b\n"
BOTH: dict[str, Any] = {"label": ("a", "b")}
NUMBER = {"problem": "regression"}
PAIRS = "".join(f"one {i}\ttwo {i}\t{'ab'[i % 2]}\n" for i in range(40))


def csv(body: str, header: str = "text,label\n") -> bytes:
    return (header + body).encode()


def lines(*rows: object) -> bytes:
    good = [{"text": f"text {i}", "label": i % 2} for i in range(40)]
    return "\n".join(r if isinstance(r, str) else json.dumps(r) for r in (*good, *rows)).encode()


# File name, content, settings, what the line must say.
CSV = [
    ("a.csv", b"", {}, "a.csv is empty"),
    ("a.csv", csv(""), {}, "a.csv has no rows"),
    ("a.xlsx", csv(GOOD), {}, "ends in .xlsx; allowed: .csv, .tsv, .txt, .jsonl"),
    ("a", csv(GOOD), {}, "ends in nothing; allowed: .csv"),
    ("a.csv", csv(GOOD), {"text": "txt"}, "column 'txt' is not among its columns: text, label"),
    ("a.csv", csv(GOOD), {"label": "klass"}, "column 'klass' is not among its columns: text"),
    ("a.csv", csv(GOOD), {"text": ("text", "b")}, "column 'b' is not among its columns: text"),
    ("a.csv", csv(GOOD, "text,label,text\n"), {}, "column 'text' is twice among its columns"),
    ("a.csv", csv(GOOD), {"delimiter": ";"}, "column 'text' is not among its columns: text,label"),
    ("a.csv", csv("only,a\n" * 20), {}, "all 20 rows have label 'a', expected at least two"),
    ("a.csv", csv(GOOD + "one,c\n"), {}, "too few to cut 20% of them for eval"),
    ("a.csv", csv(GOOD + "x,c\ny,c\n"), {}, "with each of 3 classes in it: 1 of 'c'"),
    ("a.csv", csv("x,a\ny,b\nz,a\nw,b\n"), {}, "4 rows are too few to cut"),
    ("a.csv", csv(GOOD + "a,b,c\n"), {}, "row 41 has 3 fields, expected 2 (text, label)"),
    ("a.csv", csv(GOOD + "alone\n"), {}, "row 41 has 1 fields, expected 2"),
    ("a.csv", csv('"x, y",a\n' + GOOD + '"open,a\n'), {}, "line 43: unexpected end of data"),
    ("a.csv", csv('"x, y",a\n' + GOOD + '"x"y,a\n'), {}, "line 43: ',' expected after '\"'"),
    ("a.csv", csv("caf") + b"\xe9,a\n" + GOOD.encode(), {}, "byte 0xe9 at offset 14 (line 2) is"),
    ("a.csv", csv("caf") + b"\xe9,a\n", {}, "utf-8; name the right one with task.encoding="),
    ("a.csv", csv(GOOD + "€,a\n"), {"encoding": "ascii"}, "(line 42) is not valid ascii"),
    ("a.csv", csv(GOOD).decode().encode("utf-16-le"), {}, "not among its columns"),
    ("a.csv", csv(GOOD), {"encoding": "utf-16"}, "is not valid utf-16: UTF-16 stream"),
    ("a.csv", csv(GOOD), {"encoding": "undefined"}, "is not valid undefined: "),
    ("a.csv", csv(GOOD + "x\0y,a\n"), {}, "holds NUL characters as utf-8"),
    ("a.csv", csv("x,\n" + GOOD), {}, "row 1 has no label (1 such rows); fix it, or drop such"),
    ("a.csv", csv(GOOD + " ,a\n,b\n"), {}, "row 41 has an empty text (2 such rows); fix it, or"),
    ("a.csv", csv(" ,a\n,b\n"), {"drop": ("empty",)}, "no row is left of 2, 2 rows with an empty"),
    ("a.csv", csv("x,1\ny,1.5\nz,0\n"), {}, "row 2 has label '1.5', expected names or whole"),
    ("a.tsv", PAIRS.encode(), {"text": ("x", "y")}, "column 'x' is not among its columns: one 0"),
    ("a.jsonl", lines('{"text": "x", "label": '), {}, "row 41 is not valid JSON: Expecting value"),
    ("a.jsonl", lines("[1, 2]"), {}, "row 41 is [1, 2], expected a JSON object"),
    ("a.jsonl", lines({"text": "x"}), {}, "row 41 has no label"),
    ("a.jsonl", lines({"text": None, "label": 1}), {}, "row 41 has an empty text"),
    ("a.jsonl", lines({"text": 5, "label": 1}), {}, "row 41 has text 5, expected text"),
    ("a.jsonl", lines({"text": "x", "label": [1]}), {}, "row 41 has label [1], expected text or"),
    ("a.csv", csv("x,1\ny,1.5\n"), {}, "quantities, for which there is task.problem=regression"),
    ("a.csv", csv(NUMBERS + "x,abc\n"), NUMBER, "row 41 has label 'abc', expected a finite"),
    ("a.csv", csv(NUMBERS + "x,nan\n"), NUMBER, "row 41 has label 'nan', expected a finite"),
    ("a.csv", csv(NUMBERS + "x,-inf\n"), NUMBER, "row 41 has label '-inf', expected a finite"),
    ("a.csv", csv(NUMBERS + "x,\n"), NUMBER, "row 41 has no label (1 such rows); fix it, or"),
    ("a.csv", csv("x,2\ny,2.0\n"), NUMBER, "all 2 rows have label 2, expected different numbers"),
    ("a.csv", csv("x,2\ny,1\n"), NUMBER, "2 rows are too few to cut"),
    ("a.jsonl", lines({"text": "x", "label": True}), NUMBER, "row 41 has label 'True', expected a"),
    ("a.csv", csv(TWO + "x,1,maybe\n", AB), BOTH, "row 41 has b 'maybe', expected one of"),
    ("a.csv", csv(TWO + "x,2,0\n", AB), BOTH, "row 41 has a '2', expected one of 0, 1, f"),
    ("a.csv", csv(TWO + "x,0.5,0\n", AB), BOTH, "row 41 has a '0.5', expected one of 0, 1"),
    ("a.csv", csv(TWO + "x,1,\n", AB), BOTH, "row 41 has no label (1 such rows); fix it"),
    ("a.csv", csv(TWO, "text,a,c\n"), BOTH, "column 'b' is not among its columns: text, a, c"),
    ("a.csv", csv(TWO.replace(",1\n", ",0\n"), AB), BOTH, "none of the 28 train rows have la"),
    ("a.csv", csv(TWO.replace(",0\n", ",1\n"), AB), BOTH, "all of the 28 train rows have"),
    ("a.csv", csv("x,1,0\n", AB), BOTH, "1 rows are too few to cut 20% of them for eval"),
    ("a.parquet", b"PAR1 but not really", {}, "is not a Parquet file"),
]  # fmt: skip

SCORED = "sentence1\tsentence2\tscore\n"
GLUE = [
    ("sst2", "", "train.tsv has columns ; expected sentence, label"),
    ("sst2", "sentence\tlabel\n", "train.tsv has no rows"),
    ("sst2", "sentence\tlabel\nfine\t2\n", "row 1 has label '2', allowed: 0, 1"),
    ("sst2", "sentence\tlabel\nfine\tgood\n", "row 1 has label 'good'"),
    ("sst2", "sentence\tlabel\nok\t1\nfine\t\n", "row 2 has label ''"),
    ("sst2", "sentence\tlabel\n\t1\n", "row 1 has no text"),
    ("sst2", "sentence\tlabel\none\t1\ttoo many\n", "row 1 has 3 fields, expected 2 (sen"),
    ("sst2", "sentence\tlabel\nna\xefve\t1\n", "train.tsv: byte 0xef at offset 17 (line 2)"),
    ("rte", "sentence1\tsentence2\n", "expected sentence1, sentence2, label"),
    ("rte", "sentence1\tsentence2\tlabel\na\t\tentailment\n", "row 1 has no second"),
    ("rte", "sentence1\tsentence2\tlabel\na\tb\t1\n", "allowed: entailment, not_entailment"),
    ("cola", "sentence\tlabel\n", "has 2 columns, expected 4 without a header: source"),
    ("cola", "a\t1\t\tgood\nb\t0\n", "row 2 has 2 fields, expected 4"),
    ("stsb", "sentence1\tsentence2\tlabel\n", "expected sentence1, sentence2, score"),
    ("stsb", SCORED + "a\tb\t5\na\tb\tabc\n", "row 2 has score 'abc', expected"),
    ("stsb", SCORED + "a\tb\tnan\n", "score 'nan', expected a finite number"),
    ("stsb", SCORED + "a\tb\tinf\n", "row 1 has score 'inf', expected a finite"),
    ("stsb", SCORED + "a\tb\t5.1\n", "score '5.1', expected a number from 0 to"),
    ("stsb", SCORED + "a\tb\t\n", "row 1 has score '', expected a number"),
    ("stsb", SCORED + "\tb\t1\n", "row 1 has no text"),
    ("mrpc", "sentence1\tsentence2\n", "expected #1 String, #2 String, Quality"),
]  # fmt: skip


LABELS = np.arange(40, dtype=np.uint8) % 10
CIFAR: dict[str, Any] = {
    "x_train": np.zeros((40, 32, 32, 3), np.uint8),
    "y_train": LABELS,
    "x_test": np.zeros((40, 32, 32, 3), np.uint8),
    "y_test": LABELS,
}
NPZ = [
    ({"x_test": None}, "expected x_train, y_train, x_test, y_test"),
    ({"x_test": CIFAR["x_test"].astype(float)}, "x_test is float64 of shape (40, 32, 32, 3), exp"),
    ({"x_test": CIFAR["x_test"][:, 0]}, "x_test is uint8 of shape (40, 32, 3), expected uint8 of"),
    ({"y_test": LABELS[:-1]}, "y_test is uint8 of shape (39,), expected whole numbers of shape (4"),
    ({"y_test": LABELS / 2}, "y_test is float64 of shape (40,), expected whole numbers"),
    ({"y_train": LABELS + 1}, "y_train: row 10 is 10, expected 0 to 9"),
    ({"y_train": LABELS.astype(object)}, "is damaged: Object arrays cannot be loaded when allow"),
    ({"x_test": CIFAR["x_test"][:0], "y_test": LABELS[:0]}, "y_test: there are no rows, expected"),
    ({"x_train": CIFAR["x_train"][:9], "y_train": LABELS[:9]}, "9 rows are too few to cut 10% of"),
]  # fmt: skip

# Folder of files → how many images, or text; what the line must say.
FOLDERS = [
    ({}, "has 0 class folders, expected at least two"),
    ({"cat/{i}.png": 30}, "has 1 class folders, expected at least two"),
    ({"cat/{i}.png": 30, "dog/.x.png": 1}, "dog has no images"),
    ({"cat/{i}.png": 30, "dog/{i}.png": 1}, "with each of 2 classes in it: 1 of 'dog'"),
    ({"cat/{i}.png": 30, "dog/{i}.png": 30, "3.png": 1}, "3.png is in no class folder"),
    ({"cat/{i}.png": 30, "dog/{i}.png": 30, "dog/a.txt": "x"}, "a.txt is not an image; expected"),
    ({"cat/{i}.png": 30, "dog/{i}.png": 30, "dog/a.png": "x"}, "a.png is not a complete image: "),
    ({"train/cat/{i}.png": 9, "train/dog/{i}.png": 9}, "has the folders train; expected train a"),
    ({"train/a/{i}.png": 1, "test/a/{i}.png": 1, "b/{i}.png": 1}, "has the folders b, test, train"),
    (
        {"train/a/{i}.png": 30, "train/b/{i}.png": 30, "test/c/{i}.png": 2},
        "c: no train image is of this class; expected a, b",
    ),
]  # fmt: skip


def refusal(task: Task) -> str:
    def check_and_load() -> None:
        task.check()
        task.load()

    with pytest.raises(UserError) as caught:
        check_and_load()
    said = str(caught.value)
    assert "\n" not in said
    assert len(said) < 400
    return said


@pytest.fixture(scope="module")
def base() -> Csv:
    made = settings_of("task", "csv", "task.path=somewhere")
    assert isinstance(made, Csv)
    return made


@pytest.mark.parametrize(("name", "content", "changes", "said"), CSV)
def test_bad_tables(
    name: str, content: bytes, changes: dict[str, Any], said: str, tmp_path: Path, base: Csv
) -> None:
    (tmp_path / name).write_bytes(content)
    told = refusal(replace(base, path=str(tmp_path / name), **changes))
    assert told.startswith(str(tmp_path / name))
    assert said in told
    assert [path.name for path in tmp_path.iterdir()] == [name]


WEIGHTS = [
    ((1.0, 2.0, 3.0), "task.class_weights has 3 numbers, expected one for each of 2: a, b"),
    ({"a": 1.0}, "task.class_weights names a; expected a number for each of a, b"),
    ({"a": 1.0, "c": 1.0}, "task.class_weights names a, c; expected a number for each of a, b"),
]


@pytest.mark.parametrize(("weights", "said"), WEIGHTS)
@pytest.mark.parametrize("several", [False, True])
def test_weights_of_other_classes(
    weights: Any, said: str, several: bool, tmp_path: Path, base: Csv
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(csv(TWO, AB) if several else csv(GOOD))
    changes = BOTH if several else {}
    assert said in refusal(replace(base, path=str(path), class_weights=weights, **changes))


@pytest.mark.parametrize(("corpus", "content", "said"), GLUE)
def test_bad_files_of_glue(corpus: str, content: str, said: str, tmp_path: Path) -> None:
    for name in ("train.tsv", "dev.tsv"):
        (tmp_path / name).write_bytes(content.encode("latin-1"))
    sizes = {"max_length": 8, "limit": None, "seed": 0, "calibration_samples": 4}
    told = refusal(Glue(corpus=corpus, path=str(tmp_path), **sizes))
    assert told.startswith(str(tmp_path / "train.tsv"))
    assert said in told


SAMPLING: dict[str, Any] = {
    "crop": 0.0, "flip": False, "limit": None, "seed": 0, "calibration_samples": 4,
}  # fmt: skip


@pytest.mark.parametrize(("changes", "said"), NPZ)
def test_bad_arrays(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    content = {name: each for name, each in {**CIFAR, **changes}.items() if each is not None}
    np.savez(tmp_path / "c.npz", **content)
    told = refusal(Cifar10(path=str(tmp_path / "c.npz"), **SAMPLING))
    assert told.startswith(str(tmp_path / "c.npz"))
    assert said in told


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"\x80\x04K\x01.", b"text"])
def test_what_is_no_npz_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "c.npz").write_bytes(content)
    told = refusal(Cifar10(path=str(tmp_path / "c.npz"), **SAMPLING))
    assert told.startswith(f"task.path: {tmp_path / 'c.npz'} is not an npz file")


@pytest.mark.parametrize(("files", "said"), FOLDERS)
def test_bad_image_folders(files: dict[str, int | str], said: str, tmp_path: Path) -> None:
    for pattern, content in files.items():
        for i in range(content if isinstance(content, int) else 1):
            path = tmp_path / pattern.format(i=i)
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, str):
                path.write_text(content)
            else:
                Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(path)
    cut: dict[str, Any] = {"validation_fraction": 0.1, "evaluation_fraction": 0.2}
    cut |= {"folds": None, "fold": None}
    told = refusal(ImageFolder(path=str(tmp_path), **cut, **SAMPLING))
    assert str(tmp_path) in told
    assert said in told
