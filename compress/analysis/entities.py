"""Entities in sequences of tags, and how many of them two sequences share. Pure.

Tags are O, or a prefix and a type: B-PER begins an entity and I-PER continues it; E- and S- of the
BIOES scheme end one, and are one of a single word. As in the CoNLL evaluation script (Tjong Kim
Sang & De Meulder, "Introduction to the CoNLL-2003 Shared Task", arXiv:cs/0306050) and in seqeval,
an entity may begin without B: what continues no entity of its type begins one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

OUTSIDE = "O"


class Entity(NamedTuple):
    """A type, and the first and the last word."""

    kind: str
    first: int
    last: int


def parts_of(tag: str) -> tuple[str, str]:
    """Prefix and type of a tag; of O there is no type."""
    prefix, _, kind = tag.partition("-")
    return prefix, kind


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities of a sentence, in order."""
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


def shared(ours: Sequence[str], right: Sequence[str]) -> tuple[int, int, int]:
    """Entities in both sequences, in ours and in the right one."""
    mine, theirs = set(entities(ours)), set(entities(right))
    return len(mine & theirs), len(mine), len(theirs)


def f1(sums: Float[np.ndarray, "... 3"]) -> Float[np.ndarray, ...]:
    """F1 of sums of `shared`: 2 · both / (ours + right); 0 where there is no entity."""
    total = sums[..., 1] + sums[..., 2]
    found: np.ndarray = np.divide(
        2 * sums[..., 0], total, out=np.zeros_like(total, dtype=float), where=total > 0
    )
    return found
