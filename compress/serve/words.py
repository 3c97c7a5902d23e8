"""Words of a text, the tokens that stand for them, and the entities that their tags make. Pure."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple

OUTSIDE = "O"
OVERLAP = 4  # of a row's tokens one in so many is in the row before it as well, and as many behind


class Entity(NamedTuple):
    """A type, and the first and the last word."""

    kind: str
    first: int
    last: int


class Window(NamedTuple):
    """Words from `begin` to before `end`, of which those from `first` to before `last` count."""

    begin: int
    end: int
    first: int
    last: int


def word_spans(text: str) -> list[tuple[int, int]]:
    """Where each word of a text begins and ends.

    Words are letters and digits, with what stands between them in abbreviations, times and
    addresses; other signs are words of their own.
    """
    return [found.span() for found in _word().finditer(text)]


@cache
def _word() -> re.Pattern[str]:
    # Python counts no vowel sign, of Devanagari or Bengali, among letters.
    marks = "".join(c for c in map(chr, range(0x300, 0x10000)) if unicodedata.category(c)[0] == "M")
    letter = rf"(?:\w|[{marks}])"
    return re.compile(rf"[@#]?{letter}+(?:[-'’.,:/&@]{letter}+)*|[^\w\s]")


def joined_spans(words: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Where each word begins and ends once they are joined by spaces."""
    begin = 0
    for word in words:
        yield begin, begin + len(word)
        begin += len(word) + 1


def first_tokens(spans: Iterable[tuple[int, int]], offsets: Sequence[tuple[int, int]]) -> list[int]:
    """The first token of each word; -1 for a word that has none.

    Args:
        spans: where words begin and end in a text, in order.
        offsets: where its tokens do; those that stand for nothing in it begin where they end.
    """
    found, token = [], 0
    for begin, end in spans:
        while token < len(offsets) and (
            offsets[token][1] <= begin or offsets[token][0] == offsets[token][1]
        ):
            token += 1
        found.append(token if token < len(offsets) and offsets[token][0] < end else -1)
    return found


def token_counts(spans: Sequence[tuple[int, int]], offsets: Sequence[tuple[int, int]]) -> list[int]:
    """How many tokens each word has."""
    ends = [end for begin, end in offsets if end > begin]  # in order
    behind = [len(ends) - bisect_right(ends, begin) for begin, _ in spans]
    return [more - less for more, less in pairwise([*behind, 0])]


def windows(counts: Sequence[int], most: int) -> Iterator[Window]:
    """Parts of a text of at most `most` tokens, which overlap; a word of more is one by itself.

    Each word counts in one of them: those in two in the one whose nearer end is farther away.

    Args:
        counts: tokens of each word.
        most: tokens of a part.
    """
    begin, first = 0, 0
    while begin < len(counts):
        end, size = begin + 1, counts[begin]
        while end < len(counts) and size + counts[end] <= most:
            size += counts[end]
            end += 1
        if end == len(counts):
            yield Window(begin, end, first, end)
            return
        following, size = end, 0
        while following > begin + 1 and size + counts[following - 1] <= most // OVERLAP:
            following -= 1
            size += counts[following]
        last = (following + end + 1) // 2
        yield Window(begin, end, first, last)
        begin, first = following, last


def parts_of(tag: str) -> tuple[str, str]:
    """Prefix and type of a tag; of O there is no type."""
    prefix, _, kind = tag.partition("-")
    return prefix, kind


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities of a sentence, in order.

    Tags are O, or a prefix and a type: B-PER begins an entity and I-PER continues it; E- and S- of
    the BIOES scheme end one, and are one of a single word. As in the CoNLL evaluation script (Tjong
    Kim Sang & De Meulder, "Introduction to the CoNLL-2003 Shared Task", arXiv:cs/0306050) and in
    seqeval, what continues no entity of its type begins one.
    """
    found: list[Entity] = []
    before, before_kind = OUTSIDE, ""
    for place, tag in enumerate(tags):
        prefix, kind = parts_of(tag)
        continues = before not in (OUTSIDE, "E", "S") and before_kind == kind
        if prefix in ("B", "S") or (prefix != OUTSIDE and not continues):
            found.append(Entity(kind, place, place))
        elif prefix != OUTSIDE:
            found[-1] = found[-1]._replace(last=place)
        before, before_kind = prefix, kind
    return found
