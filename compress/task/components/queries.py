"""Which queries each split of a task with queries has: none is in two, in whatever spelling."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from compress.config.errors import UserError
from compress.task.components.leaks import normalized
from compress.task.components.text_task import ROLES


def share_out(
    names: Iterable[str], shares: Mapping[str, float], draws: np.random.Generator
) -> dict[str, list[str]]:
    """Names of queries by split: at random, at least one of each share; "train" has the others."""
    left = draws.permutation(sorted(names)).tolist()
    whole, splits = len(left), {}
    for role, share in shares.items():
        count = max(1, round(share * whole))
        splits[role], left = left[:count], left[count:]
    return {**splits, "train": left}


def apart(
    splits: Mapping[str, Iterable[str]], texts: Mapping[str, str], source: str
) -> tuple[dict[str, list[str]], str]:
    """The queries that no split before has, evaluation before validation before train.

    Args:
        splits: names of queries.
        texts: by name.
        source: for messages.

    Returns:
        Names by split, and what was dropped, in words.

    Raises:
        UserError: none is left of a split.
    """
    seen: set[str] = set()
    kept, words, total = {}, "", sum(len([*names]) for names in splits.values())
    for role in ROLES:
        spelled = {name: normalized(texts[name]) for name in splits[role]}
        kept[role] = [name for name, text in spelled.items() if text not in seen]
        seen |= {*spelled.values()}
        if lost := len(spelled) - len(kept[role]):
            what = "1 query" if lost == 1 else f"{lost} queries"
            words += f"; {what} dropped from {role}, as other splits have the same"
        if not kept[role]:
            raise UserError(
                f"{source}: no query is left for the {role} split of {total}; give more, or other "
                "fractions"
            )
    return kept, words


def sampled(names: list[str], limit: int | None, draws: np.random.Generator) -> list[str]:
    """At most `limit` of the names, at random."""
    if limit is None or limit >= len(names):
        return names
    taken: list[str] = draws.permutation(sorted(names))[:limit].tolist()
    return taken
