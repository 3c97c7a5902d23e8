"""Texts in two splits, and transfer texts that hold rows of a held-out split.

Texts are compared by `normalized`, so that another spacing, case, punctuation, tokenization or
encoding of a row is the same row. Rows of pairs are equal if their texts are, in either order; one
text in common is not enough, as a premise, passage or question recurs from row to row by design.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TypeAlias

import pandas as pd

from compress.config.errors import UserError
from compress.task.components.text import text_columns

LEAST = 32  # letters and digits of the shorter of two texts of which one contains the other
BLOCK = (LEAST + 1) // 2  # a text of LEAST characters within another has a whole block of it

TAG = re.compile(r"</?[a-z][^<>]*>")
BRACKET = re.compile(r"-[lr][rsc]b-")  # the Penn Treebank's names of brackets
ACCENT = re.compile("[\u0300-\u036f]")  # those that are no letters: of Latin, Greek, Cyrillic
# Variation selectors: whether a character is shown as an emoji or as text.
SHOWN_AS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
WORD = re.compile("[a-z0-9]+")  # of ASCII, for speed
GAP = re.compile(r"(?<!\d) | (?!\d)")

VOWEL_SIGNS, NO_WIDTH = ("Mn", "Mc"), ("Me", "Cf")  # categories of Unicode

Key: TypeAlias = tuple[str, ...]


def normalized(text: str) -> str:
    """The letters and digits of a text, without case, accents and spaces.

    Tokenizers and their undoing move spaces and punctuation ("ca n't", "can't"; "-LRB-", "("), so
    all of them go; only between two digits a space stays, as 1.5 is not 15. HTML tags go, its
    entities are what they stand for. Vowel signs of other scripts are kept. A text without letters
    and digits is itself without spaces, so that smileys and emoji differ.
    """
    plain = text.casefold()
    if "&" in plain:
        plain = html.unescape(html.unescape(plain)).casefold()
    if "<" in plain:
        plain = TAG.sub(" ", plain)
    if "b-" in plain:
        plain = BRACKET.sub(" ", plain)
    if plain.isascii():
        words = WORD.findall(plain)
    else:
        # Twice: folding the case of a compatibility character can leave another one.
        folded = unicodedata.normalize("NFKD", plain).casefold()
        plain = ACCENT.sub("", unicodedata.normalize("NFKD", SHOWN_AS.sub("", folded)))
        words = "".join(_letters(plain)).split()
    return GAP.sub("", " ".join(words)) or "".join(plain.split())


def _letters(text: str) -> Iterator[str]:
    """Letters, digits and the marks that make others of them, with spaces for all other characters.

    A mark on a symbol belongs to the symbol, and characters without a width, such as joiners and
    soft hyphens, are nowhere.
    """
    on_letter = False
    for character in text:
        category = unicodedata.category(character)
        if character.isalnum():
            on_letter = True
            yield character
        elif category in VOWEL_SIGNS:
            if on_letter:
                yield character
        elif category not in NO_WIDTH:
            on_letter = False
            yield " "


def keys(rows: pd.DataFrame) -> list[Key]:
    """For each row its normalized texts, those of pairs in alphabetical order."""
    columns = ([normalized(text) for text in rows[column]] for column in text_columns(rows))
    return [tuple(sorted(texts)) for texts in zip(*columns, strict=True)]


def disjoint(
    splits: Mapping[str, pd.DataFrame], where: str = ""
) -> tuple[dict[str, pd.DataFrame], str]:
    """As `without_shared`.

    Raises:
        UserError: nothing is left of a split; begins with `where`.
    """
    kept, words = without_shared(splits)
    for role, rows in kept.items():
        if rows.empty:
            raise UserError(
                f"{where}no row is left of the {role} split, all of its texts are in other splits"
            )
    return kept, words


def without_shared(
    splits: Mapping[str, pd.DataFrame],
) -> tuple[dict[str, pd.DataFrame], str]:
    """Splits without texts in common, the first ones whole; and a description of what was lost."""
    kept: dict[str, pd.DataFrame] = {}
    seen: dict[Key, str] = {}
    words = ""
    for role, table in splits.items():
        found = keys(table)
        lost = Counter(seen[key] for key in found if key in seen)
        kept[role] = table.loc[[key not in seen for key in found]] if lost else table
        for key in found:
            seen.setdefault(key, role)
        if lost:
            places = " and ".join(lost)
            rows = "1 row" if lost.total() == 1 else f"{lost.total()} rows"
            words += f"; {rows} dropped from {role} whose texts are in {places}"
    return kept, words


class HeldOut:
    """The rows of held-out splits, to compare transfer texts with."""

    def __init__(self, splits: Mapping[str, pd.DataFrame]) -> None:
        """Indexes the rows of each split; a row in two counts for the first."""
        self._split_of: dict[Key, str] = {}
        for role, rows in splits.items():
            for key in keys(rows):
                self._split_of.setdefault(key, role)
        single = (key[0] for key in self._split_of if len(key) == 1)
        self._texts = [text for text in single if len(text) >= LEAST]
        self._firsts: dict[str, list[int]] = {}
        self._blocks: dict[str, list[tuple[int, int]]] = {}
        for number, text in enumerate(self._texts):
            self._firsts.setdefault(text[:BLOCK], []).append(number)
            for start in range(0, len(text) - BLOCK + 1, BLOCK):
                self._blocks.setdefault(text[start : start + BLOCK], []).append((number, start))

    def split_of(self, key: Key) -> str | None:
        """The split with a row that a text or pair leaks; None if there is none.

        A text leaks a row that is equal to it, contains it or is contained in it, where the shorter
        one has at least `LEAST` letters and digits: below that, phrases recur by chance. Pairs leak
        rows that are equal.
        """
        equal = self._split_of.get(key)
        if equal is not None or len(key) > 1:
            return equal
        overlapping = next(self._overlapping(key[0]), None)
        return None if overlapping is None else self._split_of[overlapping,]

    def _overlapping(self, text: str) -> Iterator[str]:
        """Held-out texts that are within this one, then those that this one is within."""
        for place in range(len(text) - LEAST + 1):
            for number in self._firsts.get(text[place : place + BLOCK], ()):
                if text.startswith(self._texts[number], place):
                    yield self._texts[number]
        for place in range(BLOCK if len(text) >= LEAST else 0):
            for number, start in self._blocks.get(text[place : place + BLOCK], ()):
                if start >= place and self._texts[number].startswith(text, start - place):
                    yield self._texts[number]
