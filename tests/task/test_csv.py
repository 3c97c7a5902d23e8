from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from compress.config.errors import ConfigError, UserError
from tests.configs import SHARED
from tests.task.tables import TABLE, json_lines, load, parts, rows, task, write


def test_splits_are_cut_stratified_and_repeat(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.csv")
    data = load(path)
    assert rows(data) == sorted(TABLE)
    counts = {role: Counter(split.labels.tolist()) for role, split in parts(data).items()}
    assert counts == {
        "train": {0: 14, 1: 14}, "validation": {0: 2, 1: 2}, "evaluation": {0: 4, 1: 4},
    }  # fmt: skip
    assert data.training.problem.names == ("cold", "warm")
    assert data.source == "mine.csv (commas, not quoted, utf-8; 40 rows)"
    assert data.evaluation.name == "20% of mine.csv, seed 0"
    assert data.training.train.name == "rest of mine.csv"
    assert load(path).evaluation.digest == data.evaluation.digest
    assert load(path, seed=1).evaluation.digest != data.evaluation.digest


def test_splits_with_files_of_their_own_are_those_files(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv")
    # "newer" stands in both; the evaluation split keeps it.
    given = {"validation": ["new", "newer"], "evaluation": ["newer", "newest", "text 3"]}
    paths = {
        f"{role}_path": str(write(tmp_path / f"{role}.csv", [(text, "warm") for text in texts]))
        for role, texts in given.items()
    }
    data = load(path, **paths)
    found = parts(data)
    assert found["train"].columns == [[text for text, _ in TABLE if text != "text 3"]]
    assert found["validation"].columns == [["new"]]
    assert found["evaluation"].columns == [given["evaluation"]]
    assert found["evaluation"].labels.tolist() == [1, 1, 1]
    assert data.training.train.name == "a.csv"
    with pytest.raises(UserError, match=r"validation\.csv: no row is left of the validation split"):
        load(path, **{**paths, "evaluation_path": paths["validation_path"]})


def test_a_label_that_no_train_row_has_is_refused(tmp_path: Path) -> None:
    other = write(tmp_path / "b.csv", [("x", "warm"), ("y", "hot")])
    with pytest.raises(UserError, match=r"b\.csv: row 2 has label 'hot', .*expected cold, warm"):
        load(write(tmp_path / "a.csv"), evaluation_path=str(other))


QUOTED = [(f'said "{i}", and left', f"and\nso on {i}", "ab"[i % 2]) for i in range(30)]

PLAIN = [(f'"open {i}', f"it's {i}", "ab"[i % 2]) for i in range(30)]


def quoted(delimiter: str, **how: object) -> bytes:
    table = pd.DataFrame(QUOTED, columns=["a", "b", "label"])
    return table.to_csv(sep=delimiter, index=False, **how).encode()  # type: ignore[call-overload]


def plain(delimiter: str) -> bytes:
    return "\r\n".join(delimiter.join(row) for row in [("a", "b", "label"), *PLAIN]).encode()


CP500 = plain(",").decode().encode("cp500")
RECORDS = [{"a": a, "b": b, "label": label, "id": 1} for a, b, label in QUOTED]

READ = [
    ("x.csv", quoted(","), {}, QUOTED, "commas, quoted, utf-8"),
    ("x.csv", quoted(";"), {}, QUOTED, "semicolons, quoted, utf-8"),
    ("x.tsv", quoted("\t"), {}, QUOTED, "tabs, quoted, utf-8"),
    ("x.txt", quoted("|"), {}, QUOTED, "bars, quoted, utf-8"),
    ("x.csv", quoted("~"), {"delimiter": "~"}, QUOTED, "fields split at '~', quoted, utf-8"),
    ("x.tsv", plain("\t"), {"delimiter": "tab"}, PLAIN, "tabs, not quoted, utf-8"),
    ("x.csv", plain(","), {}, PLAIN, "commas, not quoted, utf-8"),
    ("x.csv", CP500, {"encoding": "cp500"}, PLAIN, "not quoted, cp500"),
    ("x.jsonl", json_lines(RECORDS), {}, QUOTED, "JSON lines, utf-8"),
    ("x.ndjson", json_lines(RECORDS) + b"\n\n", {}, QUOTED, "JSON lines, utf-8"),
]


@pytest.mark.parametrize(("name", "content", "changes", "table", "words"), READ)
def test_what_is_sniffed_is_right_and_said(
    name: str, content: bytes, changes: dict[str, str], table: list[tuple[str, ...]],
    words: str, tmp_path: Path,
) -> None:  # fmt: skip
    (tmp_path / name).write_bytes(content)
    data = load(tmp_path / name, text=("a", "b"), **changes)
    assert rows(data) == sorted(table)
    assert words in data.source


def test_parquet_is_read(tmp_path: Path) -> None:
    table = pd.DataFrame(RECORDS).assign(label=[i % 3 for i in range(30)])
    table.to_parquet(tmp_path / "x.parquet")
    data = load(tmp_path / "x.parquet", text="a")
    assert rows(data) == sorted((row[0], str(i % 3)) for i, row in enumerate(QUOTED))
    assert "x.parquet (Parquet; 30 rows)" in data.source


def test_what_is_dropped_is_counted(tmp_path: Path) -> None:
    bad = [("", "warm"), (" ", "cold"), ("n_regressed", ""), ("text 0", "warm"), ("text 1", "warm")]
    path = write(tmp_path / "x.csv", [*TABLE, *bad])
    data = load(path, drop=("empty", "unlabeled", "duplicates"))
    assert rows(data) == sorted(TABLE)
    assert data.source == (
        "x.csv (commas, not quoted, utf-8; 45 rows, 2 rows with an empty text dropped, 1 rows with "
        "no label dropped, 1 texts under more than one label, 2 duplicate texts dropped)"
    )


def test_no_text_stands_in_two_splits(tmp_path: Path) -> None:
    # Every text stands there three times: stratified splits must pull copies apart.
    data = load(write(tmp_path / "x.csv", TABLE * 3))
    texts = {role: split.columns[0] for role, split in parts(data).items()}
    for role, others in (("train", "validation evaluation"), ("validation", "evaluation")):
        for other in others.split():
            assert not set(texts[role]) & set(texts[other])
    assert len(texts["evaluation"]) == 24
    lost = {role: size - len(texts[role]) for role, size in (("train", 84), ("validation", 12))}
    for role, count in lost.items():
        assert count > 0
        assert re.search(rf"; {count} rows? dropped from {role} whose texts are in", data.source)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"text": ()}, "one or two columns other than those of the labels, got none"),
        ({"text": ("a", "b", "c")}, "one or two columns .* got a, b, c beside label"),
        ({"text": "label"}, "other than those of the labels, got label beside label"),
        ({"text": ("a", "a")}, "got a, a beside label"),
        ({"delimiter": "::"}, "must be auto, tab or one character, got '::'"),
        ({"delimiter": "\n"}, "must be auto, tab or one character"),
        ({"delimiter": '"'}, "must be auto, tab or one character"),
        ({"encoding": "utf-9"}, "must be auto or a text encoding .*, got 'utf-9'"),
        ({"encoding": "base64"}, "must be auto or a text encoding"),
        ({"label": ("a", "text")}, "got text beside a, text"),
        ({"label": ("a", "a")}, "label must name each column once, got a, a"),
        ({"label": ()}, "by its name, or a list of two or more, got a list of 0"),
        ({"problem": "multi_label"}, "two or more columns for problem=multi_label, got label"),
        ({"problem": "regression", "label": ("a", "b")}, "one column for .* got a, b"),
        ({"problem": "regression", "class_weights": "balanced"}, "null for problem=regression"),
        ({"validation_fraction": 0.0}, r"validation_fraction must be in \(0, 1\)"),
        ({"evaluation_fraction": 0.95}, "must leave rows to train on, got 0.1 and 0.95"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        task(Path("x.csv"), **changes)


@pytest.mark.slow
def test_a_real_file_with_quotes_and_bengali() -> None:
    path = SHARED / "data" / "bengali_hate" / "bengali_hate_v2.0.csv"
    if not path.exists():
        pytest.skip("needs ../shared/data/bengali_hate")
    data = load(path)
    assert data.training.problem.names == ("Geopolitical", "Personal", "Political", "Religious")
    assert "(commas, quoted, utf-8; 5698 rows); 2 rows dropped from validation whose" in data.source
    # Of 16 texts that another one equals but for spaces and punctuation, 10 fall into two splits.
    assert sum(len(split) for split in parts(data).values()) == 5698 - 2 - 8
