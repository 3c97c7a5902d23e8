"""Entities of tags: by hand, and as seqeval finds them."""

from __future__ import annotations

import numpy as np
import pytest

from compress.analysis.entities import f1, shared
from compress.serve.words import Entity, entities

TAGS = ["O", "B-a", "I-a", "E-a", "S-a", "B-b", "I-b", "E-b", "S-b"]


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("", []),
        ("O O", []),
        ("B-a I-a O", [("a", 0, 1)]),
        ("B-a B-a", [("a", 0, 0), ("a", 1, 1)]),
        ("B-a I-b", [("a", 0, 0), ("b", 1, 1)]),
        ("O I-a I-a", [("a", 1, 2)]),  # IOB1 has B only behind another entity
        ("B-a I-a E-a I-a", [("a", 0, 2), ("a", 3, 3)]),
        ("S-a I-a", [("a", 0, 0), ("a", 1, 1)]),
        ("B-x-y I-x-y", [("x-y", 0, 1)]),
    ],
)
def test_by_hand(tags: str, found: list[tuple[str, int, int]]) -> None:
    assert entities(tags.split()) == [Entity(*each) for each in found]


def test_any_tags_have_the_entities_that_seqeval_finds() -> None:
    from seqeval.metrics.sequence_labeling import get_entities

    random = np.random.default_rng(0)
    for _ in range(2_000):
        tags = random.choice(TAGS, size=random.integers(1, 12)).tolist()
        assert entities(tags) == [Entity(*each) for each in get_entities(tags)], tags


def test_shared_entities_need_their_type_and_all_their_words() -> None:
    right = ["B-a", "I-a", "O", "B-b", "O", "B-a"]
    assert shared(["B-a", "I-a", "O", "B-b", "O", "B-a"], right) == (3, 3, 3)
    assert shared(["B-a", "O", "O", "B-a", "O", "B-a"], right) == (1, 3, 3)
    assert f1(np.array([[1.0, 3.0, 3.0], [0.0, 0.0, 0.0]])).tolist() == [1 / 3, 0]
