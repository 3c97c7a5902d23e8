"""How many entities two sequences of tags share, and F1 over them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from compress.serve.words import entities


def shared(ours: Sequence[str], right: Sequence[str]) -> tuple[int, int, int]:
    """Entities in both sequences, in ours and in the right one."""
    mine, theirs = set(entities(ours)), set(entities(right))
    return len(mine & theirs), len(mine), len(theirs)


def f1(sums: Float[np.ndarray, "... 3"]) -> Float[np.ndarray, ...]:
    """F1 of sums of `shared`: 2 · both / (ours + right); 0 where there is no entity."""
    total = sums[..., 1] + sums[..., 2]
    nothing = np.zeros_like(total, dtype=float)
    found: np.ndarray = np.divide(2 * sums[..., 0], total, out=nothing, where=total > 0)
    return found
