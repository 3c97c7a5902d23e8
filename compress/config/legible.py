"""Text of unknown origin made safe to print: control characters escaped, length limited."""

from __future__ import annotations

import re

LONGEST_ERROR = 2_000  # characters of an error message


# Control characters, changes of text direction, and lone surrogates, which UTF-8 cannot encode.
# Line breaks and tabs are kept.
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)


def visible(text: str) -> str:
    r"""The text with control characters escaped: "\x1b[31m" instead of a color."""
    return UNSEEN.sub(lambda found: _escape(ord(found[0])), text)


def shortened(text: str, most: int, length: int | None = None) -> str:
    """The text, or the beginning and the length of a longer one.

    `length` is that of the whole text, if `text` is only its beginning.
    """
    whole = len(text) if length is None else length
    return text if whole <= most else f"{text[:most]}… ({whole:,} characters)"


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
