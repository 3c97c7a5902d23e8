"""What each choice of a sweep does, from pairs of runs that differ in nothing else: pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from compress.analysis.intervals import mean_interval

# What a run was set to, by key: a group such as "pruner", a setting such as "pruner.sparsity". A
# key that a run lacks, as its choice has no such setting, is left out.
Settings: TypeAlias = Mapping[str, str]
REFERENCE = "none"  # what every other level is held against, where it was run


@dataclass(frozen=True)
class Change:
    """A mean of differences, with its 95 % t interval; None of a single difference."""

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Effect:
    """What one level of a key changes against the key's reference level.

    Attributes:
        pairs: that were compared, >= 1; their members are alike in everything else.
        changes: by outcome, this level's less the reference's.
    """

    key: str
    level: str
    reference: str
    pairs: int
    changes: Mapping[str, Change]


def effects(
    settings: Sequence[Settings], outcomes: Mapping[str, Sequence[float]], matched: Iterable[str]
) -> list[Effect]:
    """The effect of every level of every key that varies and of which there are pairs.

    The two sides of a pair have the same value of all other keys. A setting that one of two choices
    of a group does not have, such as the sparsity of `pruner=none`, cannot be the same: over what
    such a setting was tried with, the runs are averaged first, so that no run is in two pairs.

    Args:
        settings: of each run.
        outcomes: by name, each run's figure, without NaN.
        matched: keys that are held equal, and whose own effect is not asked for, such as the seed.

    Returns:
        By key, settings behind their group; then by level, numbers in their order.
    """
    keys = _by_group(dict.fromkeys(key for each in settings for key in each))
    table = np.array(list(outcomes.values()), dtype=float).T
    skipped = set(matched)
    found = []
    for key in keys:
        runs = [i for i, each in enumerate(settings) if key in each]
        if key in skipped or len({settings[i][key] for i in runs}) < 2:
            continue
        reference = _reference([settings[i][key] for i in runs])
        theirs = [i for i in runs if settings[i][key] == reference]
        for level in sorted({settings[i][key] for i in runs} - {reference}, key=level_order):
            ours = [i for i in runs if settings[i][key] == level]
            others = _shared_keys(key, keys, settings, ours, theirs)
            sides = [_means(others, settings, table, side) for side in (ours, theirs)]
            common = [values for values in sides[0] if values in sides[1]]
            if common:
                changes = np.array([sides[0][values] - sides[1][values] for values in common]).T
                by_name = {
                    name: change(row.tolist()) for name, row in zip(outcomes, changes, strict=True)
                }
                found.append(Effect(key, level, reference, len(common), by_name))
    return found


def change(differences: Sequence[float]) -> Change:
    """The mean of one difference or more, with Student's t interval.

    The interval takes pairs for independent; it says how far the effect differs between them.
    """
    mean = float(np.mean(differences))
    ends = mean_interval(differences) if len(differences) > 1 else (None, None)
    return Change(mean, *ends)


def level_order(level: str) -> tuple[float, str]:
    """Sorts 2 before 10, and numbers before words."""
    try:
        return float(level), level
    except ValueError:
        return math.inf, level


def _by_group(keys: Iterable[str]) -> list[str]:
    """Groups in the order in which they are found first, each with its settings behind it."""
    groups: dict[str, list[str]] = {}
    for key in keys:
        groups.setdefault(key.partition(".")[0], []).append(key)
    return [key for group in groups.values() for key in sorted(group)]


def _reference(levels: Sequence[str]) -> str:
    """None, or else the most frequent level; of equally frequent ones the first in order."""
    counts = Counter(levels)
    if REFERENCE in counts:
        return REFERENCE
    return min(counts, key=lambda level: (-counts[level], level_order(level)))


def _shared_keys(
    key: str,
    keys: Sequence[str],
    settings: Sequence[Settings],
    ours: Sequence[int],
    theirs: Sequence[int],
) -> list[str]:
    """The other keys, but for those of this group that one of the two levels never has."""

    def on_both_sides(other: str) -> bool:
        return all(any(other in settings[i] for i in side) for side in (ours, theirs))

    own = f"{key}."
    return [k for k in keys if k != key and (not k.startswith(own) or on_both_sides(k))]


def _means(
    keys: Sequence[str], settings: Sequence[Settings], table: np.ndarray, runs: Sequence[int]
) -> dict[tuple[str | None, ...], np.ndarray]:
    """By the values of some keys, the mean outcomes of the runs that have them."""
    groups: dict[tuple[str | None, ...], list[int]] = {}
    for i in runs:
        groups.setdefault(tuple(settings[i].get(key) for key in keys), []).append(i)
    return {values: table[members].mean(axis=0) for values, members in groups.items()}
