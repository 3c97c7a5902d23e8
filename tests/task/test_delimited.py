from __future__ import annotations

from pathlib import Path

import pytest

from compress.config.errors import UserError
from compress.task.components.delimited import as_table, decoded, split_fields


@pytest.mark.parametrize(
    ("text", "quoted", "fields"),
    [
        ("a,b\nc,d", False, [["a", "b"], ["c", "d"]]),
        ("a,b\r\n\r\nc,d\r\n\n", False, [["a", "b"], ["c", "d"]]),
        ("a,b\r\n\r\nc,d\r\n\n", True, [["a", "b"], ["c", "d"]]),
        ('"a,b",c\n', False, [['"a', 'b"', "c"]]),
        ('"a,b",c\n', True, [["a,b", "c"]]),
        ('"a ""b""\nc",d', True, [['a "b"\nc', "d"]]),
        # Characters at which str.splitlines ends a line, and texts do not.
        ("a\x85,\u2028b\x0c\n", False, [["a\x85", "\u2028b\x0c"]]),
        ("a\x85,\u2028b\x0c\n", True, [["a\x85", "\u2028b\x0c"]]),
        ("", True, []),
        ("", False, []),
    ],
)
def test_fields_by_hand(text: str, quoted: bool, fields: list[list[str]]) -> None:
    assert split_fields(Path("x"), text, ",", quoted=quoted) == fields


def test_every_row_is_as_long_as_the_header() -> None:
    table = as_table(Path("x"), ["a", "b"], [["1", "NA"], ["", "null"]])
    assert table.to_dict("list") == {"a": ["1", ""], "b": ["NA", "null"]}
    with pytest.raises(UserError, match=r"x: row 2 has 1 fields, expected 2 \(a, b\)"):
        as_table(Path("x"), ["a", "b"], [["1", "2"], ["3"]])


def test_a_bad_byte_is_named_with_its_line() -> None:
    assert decoded(Path("x"), "é\n".encode("latin-1"), "latin-1") == "é\n"
    with pytest.raises(UserError, match=r"x: byte 0xe9 at offset 4 \(line 3\) is not valid utf-8"):
        decoded(Path("x"), b"a\nb\n\xe9\n", "utf-8")
