"""Tables of every odd kind: what is read of them, or the one line that refuses them."""

from __future__ import annotations

import csv as library
import datetime
import decimal
import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from compress.config.errors import ConfigError, UserError
from compress.task.components.weights import check_weights
from compress.task.textfile import TextFile
from compress.task.wikitext2 import WikiText2
from tests.task.tables import load, parts, rows

ROWS = [(f"text {i}", "ab"[i % 2]) for i in range(40)]
LONG = "word " * 40_000  # more than the 131,072 characters that Python's reader takes by default


def lines(*more: str, header: str = "text,label", end: str = "\n", body: Any = ROWS) -> str:
    plain = [",".join(row) for row in body]
    return end.join([header, *plain, *more, ""])


def add(*more: tuple[str, str]) -> list[tuple[str, ...]]:
    return sorted([*ROWS, *more])


def wide(*before: str) -> str:
    """The forty rows behind columns that nobody wants."""
    header = ",".join([*before, "text", "label"])
    return lines(header=header, body=[("-",) * len(before) + row for row in ROWS])


MIXED_ENDS = zip(lines().splitlines(), ["\r\n", "\n", "\r"] * 14, strict=False)
SPLITTING = "x\x0by\x0cz\x1c\x85\u2028\u2029"
SMILING = "\U0001f600 \U00020000"
UNNAMED = lines(header="text,,label,", body=[(text, "-", label, "-") for text, label in ROWS])
TABS = lines(header="text\tlabel", body=[("\t".join(row),) for row in [*ROWS, ("x, y", "a")]])
# What is read beside the forty rows.
READ: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "a quoted text of 200,000 characters": (lines(f'"{LONG}, q",a'), [(f"{LONG}, q", "a")]),
    "a plain text of as many": (lines(f"{LONG}x,a"), [(f"{LONG}x", "a")]),
    "a text of ten million": (lines("x" * 10**7 + ",a"), [("x" * 10**7, "a")]),
    "a name of 200,000": (wide(LONG), []),
    "a quoted name of as many": (wide(f'"{LONG}\n{LONG}"'), []),
    "CR": (lines(end="\r"), []),
    "CRLF": (lines(end="\r\n"), []),
    "CR, and quotes": (lines('"x, y",a', end="\r"), [("x, y", "a")]),
    "CRLF, LF and CR": ("".join(line + end for line, end in MIXED_ENDS), []),
    "CR within quotes": (lines('"x\ry",a', '"x\r\nz",b'), [("x\ry", "a"), ("x\r\nz", "b")]),
    "CR within quotes among CR": (lines('"x\ry, z",a', end="\r"), [("x\ry, z", "a")]),
    "blank lines, the first one too": ("\n\n" + lines("", "x,a", ""), [("x", "a")]),
    "blank lines in CR": ("\r\r" + lines("", "x,a", "", end="\r"), [("x", "a")]),
    "no line end at the end": (lines("x,a").rstrip(), [("x", "a")]),
    "delimiters within quotes": (lines('"a;b\t|c,d",a'), [("a;b\t|c,d", "a")]),
    "tabs in a .csv": (TABS, [("x, y", "a")]),
    "a byte order mark": ("\ufeff" + lines(), []),
    "unnamed columns": (UNNAMED, []),
    "one name twice, not wanted": (wide("x", "x"), []),
    "5,000 columns": (wide(*(f"c{i}" for i in range(5000))), []),
    "characters at which some split lines": (lines(f"{SPLITTING},a"), [(SPLITTING, "a")]),
    "characters beyond the basic plane": (lines(f"{SMILING},a"), [(SMILING, "a")]),
}


@pytest.mark.parametrize(("content", "more"), READ.values(), ids=READ)
def test_what_is_read(content: str, more: list[tuple[str, str]], tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(content.encode())
    limit = library.field_size_limit()
    assert rows(load(tmp_path / "x.csv")) == add(*more)
    assert library.field_size_limit() == limit


def test_a_byte_order_mark_is_no_text_whatever_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(lines().encode("utf-8-sig"))
    assert rows(load(tmp_path / "x.csv", encoding="utf-8")) == sorted(ROWS)
    (tmp_path / "x.csv").write_bytes(lines().encode("utf-16"))
    assert rows(load(tmp_path / "x.csv", encoding="utf-16-le")) == sorted(ROWS)


def json_line(label: str, text: str = '"x"') -> str:
    return f'{{"text": {text}, "label": {label}}}\n'


HALF_16 = lines().encode("utf-16") + "x".encode("utf-16-le") + b"\x00\xd8,\x00a\x00\n\x00"
REFUSED: dict[str, tuple[str, str | bytes, str]] = {
    "the header again": ("x.csv", lines("text,label", "x,a"), "row 41 is the header once more (t"),
    "a header alone": ("x.csv", "text,label\r", "has no rows"),
    "a row too long": ("x.csv", lines("x,a,b"), "row 41 has 3 fields, expected 2 (text, label)"),
    "a row too short, in CR": ("x.csv", lines("x", end="\r"), "row 41 has 1 fields, expected 2"),
    "a quoted row too long": ("x.csv", lines('"x, y",a', "x,a,b"), "row 42 has 3 fields, expect"),
    "a quote left open": ("x.csv", lines('"x, y",a', f'"{LONG},a'), "line 43: unexpected end of"),
    "NUL": ("x.csv", lines("x\0,a"), "holds NUL characters as utf-8"),
    "half a pair in UTF-8": ("x.csv", lines().encode() + b"\xed\xa0\x80,a\n", "is not valid utf-8"),
    "half a pair in UTF-16": ("x.csv", HALF_16, "is not valid utf-16"),
    "escape codes in a name": ("x.csv", lines(header="\x1b[31mt,\x07b"), "\\x1b[31mt, \\x07b"),
    "a name of two lines": ("x.csv", lines(header='"a\nb",label'), "its columns: a\\nb, label"),
    "half a pair in JSON": ("x.jsonl", json_line("1", '"\\ud800"'), "half of a surrogate pair"),
    "half a pair as a label": ("x.jsonl", json_line('"\\udfff"'), "row 1 has label '\\udfff', ex"),
    "one name twice": ("x.jsonl", json_line('"a", "text": "y"'), "row 1 has 'text' twice"),
    "depth": (
        "x.jsonl",
        json_line("[" * 100_000),
        "row 1 is not valid JSON: maximum recursion depth",
    ),
    "5,000 digits": (
        "x.jsonl",
        json_line("1" * 5000),
        "row 1 is not valid JSON: Exceeds the limit",
    ),
    "Infinity": ("x.jsonl", json_line("Infinity"), "row 1 has label inf, expected text or a whole"),
    "1e999": ("x.jsonl", json_line("1e999"), "row 1 has label inf, expected text or a whole"),
    "NaN": ("x.jsonl", json_line("NaN"), "row 1 has no label"),
    "a nested label": ("x.jsonl", json_line('{"a": 1}'), "row 1 has label {'a': 1}, expected te"),
    "a nested text": ("x.jsonl", json_line("1", '["x"]'), "row 1 has text ['x'], expected text"),
    "an array": ("x.jsonl", '[{"text": "x"}]\n', 'row 1 is [{"text": "x"}], expected a JSON obj'),
}


@pytest.mark.parametrize(("name", "content", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(name: str, content: str | bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert said in refused(path)


def test_json_lines_end_in_any_way(tmp_path: Path) -> None:
    told = [json.dumps({"text": text, "label": label}) for text, label in ROWS]
    for end in ("\n", "\r\n", "\r", "\r\r", " \n\n"):
        (tmp_path / "x.jsonl").write_bytes(end.join(told).encode())
        assert rows(load(tmp_path / "x.jsonl")) == sorted(ROWS)


def refused(path: Path, **changes: object) -> str:
    with pytest.raises(UserError) as caught:
        load(path, **changes)
    told = str(caught.value)
    assert told.startswith(str(path)), told
    assert "\n" not in told
    assert len(told) < 400
    return told


SPELLINGS = "spelled in two ways; spell each class in one way"
# Labels, and the classes, or what refuses them: in CSV all are text.
LABELS: list[tuple[list[object], tuple[str, ...] | str]] = [
    (["1", "2"], ("1", "2")),
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
    ([1, 2], ("1", "2")),
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
    started = time.process_time()
    if isinstance(expected, str):
        assert expected in refused(path)
    else:
        assert load(path).training.problem.names == expected
    assert time.process_time() - started < 2, "no digit of an exponent is written out"


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
        path.write_text("\n".join(json.dumps(row) for row in table(labels)))
    else:
        frame.to_parquet(path)
    check_labels(path, expected)


@pytest.mark.parametrize(("labels", "expected"), TYPED)
def test_labels_of_other_types(
    labels: list[object], expected: tuple[str, ...] | str, tmp_path: Path
) -> None:
    (tmp_path / "x.jsonl").write_text("\n".join(json.dumps(row) for row in table(labels)))
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


@pytest.mark.parametrize("weight", [1e39, 1e-46, float("inf"), float("nan"), 0.0, -1.0])
def test_weights_that_float32_has_not_are_refused(weight: float) -> None:
    for weights in ((1.0, weight), {"a": 1.0, "b": weight}):
        with pytest.raises(ConfigError, match="must each be > 0 and finite in float32, got"):
            check_weights("Csv.class_weights", weights)


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
    names = [label for _, label in ROWS]
    for labels in (pa.array(names).dictionary_encode(), pa.array(names, pa.large_string())):
        made = {"text": [text for text, _ in ROWS], "label": labels, "label.x": [{"y": 1}] * 40}
        pyarrow.parquet.write_table(pa.table(made), tmp_path / "x.parquet")
        assert rows(load(tmp_path / "x.parquet")) == sorted(ROWS)


@pytest.mark.parametrize("start", range(4, 1500, 97))
def test_damaged_parquet_is_read_or_refused(start: int, tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pd.DataFrame(table(["a", "b"])).to_parquet(path)
    whole = path.read_bytes()
    assert len(whole) > start + 8
    path.write_bytes(whole[:start] + b"\xff" * 8 + whole[start + 8 :])
    with suppress(UserError):  # some bytes mean nothing
        load(path)


def language(**where: object) -> dict[str, Any]:
    sizes = {"context": 8, "stride": None, "limit": None, "seed": 0, "calibration_samples": 2}
    return {**sizes, **where}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_texts_end_their_lines_in_any_way(end: str, tmp_path: Path) -> None:
    written = end.join(f"line {i} of the text" for i in range(40))
    for name in ("train.txt", "valid.txt", "test.txt"):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + written.encode())
    expected = written.replace(end, "\n")
    cut = {"validation_fraction": 0.1, "evaluation_fraction": 0.2}
    made = TextFile(path=str(tmp_path / "test.txt"), **language(**cut)).passages()[0]
    assert "".join(made[role].text for role in ("train", "validation", "evaluation")) == expected
    assert all(made[role].text.endswith("\n") for role in ("train", "validation"))
    found = WikiText2(path=str(tmp_path), **language()).passages()[0]
    assert found["train"].text == "\n\n".join(f"{line}\n" for line in expected.split("\n"))


def test_texts_that_are_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    cut = {"validation_fraction": 0.1, "evaluation_fraction": 0.2}
    for content, said in ((b"a\0b", "NUL characters"), (b"\xff\xfea\0", "byte 0xff at offset 0")):
        path.write_bytes(content)
        with pytest.raises(UserError, match=said):
            TextFile(path=str(path), **language(**cut)).passages()
    with pytest.raises(ConfigError, match="must name each file once"):
        TextFile(path=(str(path), str(path)), **language(**cut))
