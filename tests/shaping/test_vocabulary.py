from __future__ import annotations

import pytest

from compress.config.errors import UserError
from compress.shaping.vocabulary import Kept, kept_ids
from compress.transformer.tokenizers import State

WORDS: State = {"model": {"type": "WordPiece"}, "added_tokens": []}
# "a", "b", "c", "d", then "ab" of two, "abc" of "ab" and "c", and "cd".
PAIRS: State = {
    "model": {
        "type": "BPE",
        "vocab": {"a": 0, "b": 1, "c": 2, "d": 3, "ab": 4, "abc": 5, "cd": 6},
        "merges": [["a", "b"], ["ab", "c"], ["c", "d"]],
    },
    "added_tokens": [],
}
COUNTS = {7: 2, 5: 9, 3: 2, 4: 1, 1: 100}


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (Kept(), {0, 1, 3, 4, 5, 7}),
        (Kept(min_count=2), {0, 1, 3, 5, 7}),
        (Kept(size=3), {0, 1, 5}),
        (Kept(size=4), {0, 1, 5, 3}),  # of 3 and 7, which occur twice, the earlier
        (Kept(size=5), {0, 1, 5, 3, 7}),
        (Kept(size=5, min_count=3), {0, 1, 5}),
        (Kept(size=99), {0, 1, 3, 4, 5, 7}),
    ],
)
def test_the_most_frequent_stay(kept: Kept, expected: set[int]) -> None:
    assert kept_ids(WORDS, COUNTS, {0, 1}, "pruner=vocabulary", kept) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (4, {0, 1, 2, 3}),
        (5, {0, 1, 2, 3}),  # "abc" needs "ab", which makes six
        (6, {0, 1, 2, 3, 4, 5}),
        (7, {0, 1, 2, 3, 4, 5, 6}),
    ],
)
def test_what_byte_pairs_are_built_from_counts(size: int, expected: set[int]) -> None:
    found = kept_ids(PAIRS, {5: 3, 6: 1}, {0, 1, 2, 3}, "pruner=vocabulary", Kept(size=size))
    assert found == expected


def test_fewer_than_a_tokenizer_needs_are_refused() -> None:
    with pytest.raises(UserError, match="vocabulary=1 is fewer than the 2 special tokens and"):
        kept_ids(WORDS, COUNTS, {0, 1}, "student.shape.vocabulary", Kept(size=1))
