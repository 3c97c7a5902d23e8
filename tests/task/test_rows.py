from __future__ import annotations

from pathlib import Path

import pytest

from compress.task.components.rows import Request, read_rows


def read(path: Path, text: str, encoding: str = "utf-8") -> tuple[list[list[str]], str]:
    path.write_bytes(text.encode(encoding))
    table, words = read_rows(Request(path, ("text", "label"), "auto", "auto"))
    assert list(table.index) == list(range(1, len(table) + 1))
    return table.to_numpy().tolist(), words


@pytest.mark.parametrize(
    ("text", "rows", "words"),
    [
        # Either way each row is as long as the header; as quotes these would swallow a row.
        ('text,label\n"open,a\nshut",b\n', [['"open', "a"], ['shut"', "b"]], "not quoted"),
        ('text,label\n"one",a\n"two",b\n', [["one", "a"], ["two", "b"]], "quoted"),
        ('text,label\n"one, two",a\n', [["one, two", "a"]], "quoted"),
        ('text,label\nsaid "yes",a\n', [['said "yes"', "a"]], "quoted"),
        ('text,label\n"yes" he said,a\n', [['"yes" he said', "a"]], "not quoted"),
        ('text,label\n",a\n', [['"', "a"]], "not quoted"),
        # The columns may be anywhere, and the header decides on the delimiter.
        ("label;n,o;text\na;1,2;one, two\n", [["one, two", "a"]], "semicolons"),
        ("text|label\none, two; three|a\n", [["one, two; three", "a"]], "bars"),
    ],
)
def test_quotes_and_delimiters(
    text: str, rows: list[list[str]], words: str, tmp_path: Path
) -> None:
    found, said = read(tmp_path / "x.csv", text)
    assert found == rows
    assert words in said.split(", ")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks_name_the_encoding(encoding: str, tmp_path: Path) -> None:
    found, said = read(tmp_path / "x.csv", "text,label\nগান ☃,a\n", encoding)
    assert found == [["গান ☃", "a"]]
    assert said.endswith(f", {encoding}")
