"""Tables of every odd kind: what is read of them, or the one line that refuses them."""

from __future__ import annotations

import csv as library
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from compress.config.errors import UserError
from tests.task.tables import load, refusal, refused, rows, task

GOOD = "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(40))
NUMBERS = "".join(f"text {i},{i / 8}\n" for i in range(40))
TWO = "".join(f"text {i},{i % 2},{i % 3 // 2}\n" for i in range(40))
AB = "text,a,b\n"
BOTH: dict[str, Any] = {"label": ("a", "b")}
NUMBER = {"problem": "regression"}
PAIRS = "".join(f"one {i}\ttwo {i}\t{'ab'[i % 2]}\n" for i in range(40))


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


def csv(body: str, header: str = "text,label\n") -> bytes:
    return (header + body).encode()


def records(*rows: object) -> bytes:
    good = [{"text": f"text {i}", "label": i % 2} for i in range(40)]
    return "\n".join(r if isinstance(r, str) else json.dumps(r) for r in (*good, *rows)).encode()


# File name, content, settings, what the line must say.
CSV = [
    ("a.csv", b"", {}, "a.csv is empty"),
    ("a.xlsx", csv(GOOD), {}, "ends in .xlsx; allowed: .csv, .tsv, .txt, .jsonl"),
    ("a", csv(GOOD), {}, "ends in nothing; allowed: .csv"),
    ("a.csv", csv(GOOD), {"text": "txt"}, "column 'txt' is not among its columns: text, label"),
    ("a.csv", csv(GOOD), {"text": ("text", "b")}, "column 'b' is not among its columns: text"),
    ("a.csv", csv(GOOD, "text,label,text\n"), {}, "column 'text' is twice among its columns"),
    ("a.csv", csv(GOOD), {"delimiter": ";"}, "column 'text' is not among its columns: text,label"),
    ("a.csv", csv("only,a\n" * 20), {}, "all 20 rows have label 'a', expected at least two"),
    ("a.csv", csv(GOOD + "one,c\n"), {}, "too few to hold out 20% of them for eval"),
    ("a.csv", csv(GOOD + "x,c\ny,c\n"), {}, "with each of 3 classes in it: 1 of 'c'"),
    ("a.csv", csv("x,a\ny,b\nz,a\nw,b\n"), {}, "4 rows are too few to hold out"),
    ("a.csv", csv('"x, y",a\n' + GOOD + '"x"y,a\n'), {}, "line 43: ',' expected after '\"'"),
    ("a.csv", csv("caf") + b"\xe9,a\n" + GOOD.encode(), {}, "byte 0xe9 at offset 14 (line 2) is"),
    ("a.csv", csv("caf") + b"\xe9,a\n", {}, "utf-8; name the right one with task.format.encoding="),
    ("a.csv", csv(GOOD + "€,a\n"), {"encoding": "ascii"}, "(line 42) is not valid ascii"),
    ("a.csv", csv(GOOD).decode().encode("utf-16-le"), {}, "not among its columns"),
    ("a.csv", csv(GOOD), {"encoding": "utf-16"}, "is not valid utf-16: UTF-16 stream"),
    ("a.csv", csv(GOOD), {"encoding": "undefined"}, "is not valid undefined: "),
    ("a.csv", csv("x,\n" + GOOD), {}, "row 1 has no label (1 such rows); fix it, or drop such"),
    ("a.csv", csv(GOOD + " ,a\n,b\n"), {}, "row 41 has an empty text (2 such rows); fix it, or"),
    ("a.csv", csv(" ,a\n,b\n"), {"drop": ("empty",)}, "no row is left of 2, 2 rows with an empty"),
    ("a.tsv", PAIRS.encode(), {"text": ("x", "y")}, "column 'x' is not among its columns: one 0"),
    ("a.jsonl", records('{"text": "x", "label": '), {}, "is not valid JSON: Expecting value"),
    ("a.jsonl", records({"text": "x"}), {}, "row 41 has no label"),
    ("a.jsonl", records({"text": None, "label": 1}), {}, "row 41 has an empty text"),
    ("a.jsonl", records({"text": 5, "label": 1}), {}, "row 41 has text 5, expected text"),
    ("a.csv", csv("x,1\ny,1.5\n"), {}, "quantities, for which there is task.problem=regression"),
    ("a.csv", csv("x,2\ny,2.0\n"), NUMBER, "all 2 rows have label 2, expected different numbers"),
    ("a.csv", csv("x,2\ny,1\n"), NUMBER, "2 rows are too few to hold out"),
    ("a.csv", csv(TWO + "x,1,maybe\n", AB), BOTH, "row 41 has b 'maybe', expected one of"),
    ("a.csv", csv(TWO + "x,2,0\n", AB), BOTH, "row 41 has a '2', expected one of 0, 1, f"),
    ("a.csv", csv(TWO + "x,1,\n", AB), BOTH, "row 41 has no label (1 such rows); fix it"),
    ("a.csv", csv(TWO, "text,a,c\n"), BOTH, "column 'b' is not among its columns: text, a, c"),
    ("a.csv", csv(TWO.replace(",1\n", ",0\n"), AB), BOTH, "none of the 28 train rows have la"),
    ("a.csv", csv(TWO.replace(",0\n", ",1\n"), AB), BOTH, "all of the 28 train rows have"),
    ("a.csv", csv("x,1,0\n", AB), BOTH, "1 rows are too few to hold out 20% of them for eval"),
    ("a.parquet", b"PAR1 but not really", {}, "is not a Parquet file"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "changes", "said"), CSV)
def test_what_is_refused_with_these_settings(
    name: str, content: bytes, changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    assert said in refused(tmp_path / name, **changes)
    assert [path.name for path in tmp_path.iterdir()] == [name]


WEIGHTS = [
    ((1.0, 2.0, 3.0), "task.class_weights has 3 numbers, expected one for each of 2: a, b"),
    ({"a": 1.0}, "task.class_weights names a; expected a number for each of a, b"),
    ({"a": 1.0, "c": 1.0}, "task.class_weights names a, c; expected a number for each of a, b"),
]


@pytest.mark.parametrize(("weights", "said"), WEIGHTS)
@pytest.mark.parametrize("several", [False, True])
def test_weights_of_other_classes(weights: Any, said: str, several: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(csv(TWO, AB) if several else csv(GOOD))
    changes = BOTH if several else {}
    assert said in refusal(task(path, class_weights=weights, **changes))


def test_json_lines_end_in_any_way(tmp_path: Path) -> None:
    told = [json.dumps({"text": text, "label": label}) for text, label in ROWS]
    for end in ("\n", "\r\n", "\r", "\r\r", " \n\n"):
        (tmp_path / "x.jsonl").write_bytes(end.join(told).encode())
        assert rows(load(tmp_path / "x.jsonl")) == sorted(ROWS)


@pytest.mark.parametrize("start", range(4, 1500, 97))
def test_damaged_parquet_is_read_or_refused(start: int, tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pd.DataFrame(ROWS, columns=["text", "label"]).to_parquet(path)
    whole = path.read_bytes()
    assert len(whole) > start + 8
    path.write_bytes(whole[:start] + b"\xff" * 8 + whole[start + 8 :])
    with suppress(UserError):  # some bytes mean nothing
        load(path)
