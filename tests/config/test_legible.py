from __future__ import annotations

import pytest

from compress.config.legible import shortened, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x9b2J", "\\x9b2J"),
        ("\x07\x00\x7f\r", "\\x07\\x00\\x7f\\x0d"),
        ("\u202eabc\u2066", "\\u202eabc\\u2066"),
        ("\u2028", "\\u2028"),
        ("\udcff", "\\udcff"),
        ("é ভাল 中 \U0001f600 a\u200db", "é ভাল 中 \U0001f600 a\u200db"),
    ],
)
def test_what_is_no_sign_is_seen(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible(shown) == shown


def test_a_long_text_is_cut_with_its_length() -> None:
    assert shortened("abc", 3) == "abc"
    assert shortened("abcd", 3) == "abc… (4 characters)"
    assert shortened("abcd", 3, 4000) == "abc… (4,000 characters)"
    assert shortened("ab", 3, 4000) == "ab… (4,000 characters)"
