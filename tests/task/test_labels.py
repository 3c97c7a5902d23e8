"""Labels of every odd kind: the classes that are read of them, or the line that refuses them."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from compress.config.errors import UserError
from tests.task.tables import TABLE, json_lines, load, parts, refused, rows

SPELLINGS = "spelled in two ways; spell each class in one way"
# Labels, and the classes, or what refuses them: in CSV all are text.
LABELS: list[tuple[list[object], tuple[str, ...] | str]] = [
    (["1", "2"], ("1", "2")),
    (["b", "a", " c "], ("a", "b", "c")),
    (["10", "9", "-1"], ("-1", "9", "10")),
    (["1.0", "2", "03"], ("1", "2", "03")),
    (["10", "9", "x"], ("10", "9", "x")),
    (["1.5", "9", "x"], ("1.5", "9", "x")),
    (["9007199254740993", "9007199254740992"], ("9007199254740992", "9007199254740993")),
    (["01", "02"], ("01", "02")),
    (["01", "1"], "row 2 has label '1' and row 1 '01', the same number spelled in"),
    (["1", "1.0"], SPELLINGS),
    (["1.0", "2.0"], ("1", "2")),
    (["1.", "2"], ("1", "2")),
    (["+1", "-1"], ("-1", "+1")),
    (["+1", "1"], SPELLINGS),
    (["0", "-0"], SPELLINGS),
    (["1", "1e0"], "label '1e0', expected names or whole numbers"),
    (["1", "１"], "label '１', expected names or whole numbers"),
    (["1", "1_0"], "label '1_0', expected names or whole numbers"),
    (["1", "1e999999999"], "label '1e999999999', expected names or whole numbers"),
    (["1e999999999", "-1e999999999"], "expected names or whole numbers"),
    (["1e-999999999", "0"], "label '1e-999999999', expected names or whole numbers"),
    (["1", "9" * 5000], ("1", "9" * 5000)),
    (["9" * 4400, "1" + "0" * 4400], ("9" * 4400, "1" + "0" * 4400)),
    (["1", "01", "x"], ("01", "1", "x")),  # names, as there is one
    (["1e5", "x"], ("1e5", "x")),
    ([" 1", "2 "], ("1", "2")),
    (["True", "False"], ("False", "True")),
    (["True", "1"], ("1", "True")),
    (["nan", "1"], ("1", "nan")),
    (["Infinity", "1"], ("1", "Infinity")),
    (["true", "TRUE"], ("TRUE", "true")),
]
# In files that have numbers.
TYPED: list[tuple[list[object], tuple[str, ...] | str]] = [
    ([2, 1, 10], ("1", "2", "10")),
    ([1.0, 2.0], ("1", "2")),
    ([1, "1.0"], SPELLINGS),
    ([1, "01"], SPELLINGS),
    ([1, "2"], ("1", "2")),
    ([0, 1.5], "label '1.5', expected names or whole numbers"),
    ([0, 1e300], ("0", str(int(1e300)))),
    ([True, False], ("false", "true")),
    ([True, 1], ("1", "true")),
    ([2**63, -(2**63)], (str(-(2**63)), str(2**63))),
]


def table(labels: list[object]) -> list[dict[str, object]]:
    return [{"text": f"t{i}", "label": labels[i % len(labels)]} for i in range(40)]


def check_labels(path: Path, expected: tuple[str, ...] | str) -> None:
    if isinstance(expected, str):
        assert expected in refused(path)
    else:
        assert load(path).training.problem.names == expected


@pytest.mark.parametrize(("labels", "expected"), LABELS)
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_labels_as_text(
    labels: list[object], expected: tuple[str, ...] | str, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"x{suffix}"
    frame = pd.DataFrame(table(labels))
    if suffix == ".csv":
        frame.to_csv(path, index=False)
    elif suffix == ".jsonl":
        path.write_bytes(json_lines(table(labels)))
    else:
        frame.to_parquet(path)
    check_labels(path, expected)


@pytest.mark.parametrize(("labels", "expected"), TYPED)
def test_labels_of_other_types(
    labels: list[object], expected: tuple[str, ...] | str, tmp_path: Path
) -> None:
    (tmp_path / "x.jsonl").write_bytes(json_lines(table(labels)))
    check_labels(tmp_path / "x.jsonl", expected)


def test_one_class_is_called_the_same_in_every_file(tmp_path: Path) -> None:
    """Tables write 1.0 for 1 where a label is missing, and that is another file's 1."""
    pd.DataFrame(table(["0", "1"])).to_csv(tmp_path / "a.csv", index=False)
    pd.DataFrame({"text": ["x", "y"], "label": [1.0, 0.0]}).to_csv(tmp_path / "b.csv", index=False)
    data = load(tmp_path / "a.csv", evaluation_path=str(tmp_path / "b.csv"))
    assert parts(data)["evaluation"].labels.tolist() == [1, 0]
    pd.DataFrame({"text": ["x"], "label": ["01"]}).to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(
        UserError, match=r"row 1 has label '01', which no train row has; expected 0"
    ):
        load(tmp_path / "a.csv", evaluation_path=str(tmp_path / "b.csv"))


NUMBERS = ["1e999999999", "-1e999999999", "9" * 5000, "1e39"]


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_with_long_exponents(number: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    pd.DataFrame(table([*map(str, range(39)), number])).to_csv(path, index=False)
    assert "row 40 has label" in refused(path, problem="regression")
    frame = pd.DataFrame({"text": [f"t{i}" for i in range(40)], "a": ["0", "1"] * 20, "b": "1"})
    frame.loc[7, "b"] = number
    frame.to_csv(path, index=False)
    assert "row 8 has b" in refused(path, label=("a", "b"))


PARQUET: list[tuple[pa.Array, str]] = [
    (pa.array([{"a": "x"}] * 40), "row 1 has label {'a': 'x'}, expected text or a whole number"),
    (pa.array([["x"]] * 40), "row 1 has label ['x'], expected text or a whole number"),
    (pa.array([datetime.date(2020, 1, 1)] * 40), "row 1 has label datetime.date(2020, 1, 1), exp"),
    (pa.array([2**30] * 40, pa.timestamp("s")), "row 1 has label datetime.datetime("),
    (pa.array([2**50] * 40, pa.timestamp("s")), "cannot be read: "),
    (pa.array([decimal.Decimal("1.5")] * 40), "row 1 has label Decimal('1.5'), expected text or"),
    (pa.array([b"x"] * 40), "row 1 has label b'x', expected text or a whole number"),
    (pa.array([float("inf"), 1.0] * 20), "row 1 has label inf, expected text or a whole number"),
    (pa.array([None] * 40, pa.string()), "row 1 has no label (40 such rows)"),
    (pa.array([], pa.string()), "has no rows"),
    (pa.array([1, None] * 20, pa.int8()), "row 2 has no label (20 such rows)"),
]


@pytest.mark.parametrize(("labels", "said"), PARQUET)
def test_columns_of_parquet_that_are_no_labels(labels: pa.Array, said: str, tmp_path: Path) -> None:
    texts = pa.array([f"t{i}" for i in range(len(labels))])
    pyarrow.parquet.write_table(pa.table({"text": texts, "label": labels}), tmp_path / "x.parquet")
    assert said in refused(tmp_path / "x.parquet")


def test_columns_of_parquet_that_are_labels(tmp_path: Path) -> None:
    names = [label for _, label in TABLE]
    for labels in (pa.array(names).dictionary_encode(), pa.array(names, pa.large_string())):
        made = {"text": [text for text, _ in TABLE], "label": labels, "label.x": [{"y": 1}] * 40}
        pyarrow.parquet.write_table(pa.table(made), tmp_path / "x.parquet")
        assert rows(load(tmp_path / "x.parquet")) == sorted(TABLE)
