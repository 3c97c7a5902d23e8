"""Held-out sentences of a table that has phrases of its sentences as rows of their own.

SST-2's train split labels every phrase of a parse tree, its dev split whole sentences alone. Rows
drawn at random from such a train split are phrases of sentences that are trained on, so their score
says little about new sentences. A sentence is a row that no other row contains.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TypeAlias

import pandas as pd

from compress.task.components.sampling import split_off
from compress.task.components.text import TEXT

Words: TypeAlias = tuple[str, ...]


def split_off_sentences(
    rows: pd.DataFrame, most: int, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Splits off sentences and the phrases that only they contain; returns (rest, sentences).

    A phrase that a remaining sentence contains too is left in the rest, as it would be if the
    sentences that were split off were new.

    Args:
        rows: with a column of texts, whose words have spaces between them, and labels.
        most: sentences to split off, stratified by label; at most a fifth of them.
        seed: of the draw.
    """
    texts = _words(rows)
    phrases = set(_contained(texts, set(texts)))
    whole = rows[[text not in phrases for text in texts]]
    _, part = split_off(whole, min(most, len(whole) // 5), seed)
    others = {*_words(whole)} - {*_words(part)}
    kept = {*others, *_contained(others, phrases)}
    return rows[[text in kept for text in texts]], part


def _words(rows: pd.DataFrame) -> list[Words]:
    return [tuple(text.split()) for text in rows[TEXT]]


def _contained(texts: Iterable[Words], wanted: Collection[Words]) -> Iterator[Words]:
    """Those of the wanted texts that are a part of another text, some several times."""
    for text in texts:
        for first in range(len(text)):
            for last in range(first + 1, len(text) + (first > 0)):
                if text[first:last] in wanted:
                    yield text[first:last]
