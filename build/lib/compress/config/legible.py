"""Text of unknown origin, made safe to show: no control of a terminal, and no more than fits."""

from __future__ import annotations

import re

LONGEST_ERROR = 2_000  # of an error's text, of which the rest is cut


# What moves a cursor, rings a bell or ends a string; what turns the direction of a line; halves of
# a character, which no file of UTF-8 can hold. Line breaks and tabs are left to who lays out.
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)


def visible(text: str) -> str:
    r"""The text with everything that is no sign as an escape: "\x1b[31m" instead of a color."""
    return UNSEEN.sub(lambda found: _escape(ord(found[0])), text)


def shortened(text: str, most: int, length: int | None = None) -> str:
    """The text, or of a longer one the beginning and its length.

    Args:
        text: of any length.
        most: characters that are kept.
        length: of the whole, of which the text may be the beginning already.
    """
    whole = len(text) if length is None else length
    return text if whole <= most else f"{text[:most]}… ({whole:,} characters)"


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
