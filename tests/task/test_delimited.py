from __future__ import annotations

from pathlib import Path

import pytest

from compress.task.components.delimited import split_fields


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
