"""Runs that differ in their seed alone, as one recipe: its figures over the seeds. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from compress.analysis.intervals import holm, paired_t_p_value
from compress.records.recipe import recipe, recipe_key
from compress.records.schema import FinishedRun
from compress.records.words import target_sparsity

Run = tuple[Path, FinishedRun]


@dataclass(frozen=True)
class Recipe:
    """One way to make a model.

    Attributes:
        runs: folder and record of each, the lowest seed first.
    """

    runs: tuple[Run, ...]

    @property
    def record(self) -> FinishedRun:
        """That of the lowest seed: the best of several would look better than it is."""
        return self.runs[0][1]

    @property
    def words(self) -> str:
        """What was done, in a few words."""
        return recipe(self.record)

    @property
    def seeds(self) -> dict[int | None, FinishedRun]:
        """A record of each seed: one that was run twice is the same model."""
        return {record.seed: record for _, record in reversed(self.runs)}

    def values(self, read: Callable[[FinishedRun], float]) -> dict[int | None, float]:
        """A figure of each seed."""
        return {seed: read(record) for seed, record in sorted(self.seeds.items(), key=_seed)}


def recipes_of(runs: Iterable[Run]) -> list[Recipe]:
    """The recipes of some runs, in the order of their first runs."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(recipe_key(run[1]), []).append(run)
    return [
        Recipe(tuple(sorted(each, key=lambda run: run[1].seed or 0))) for each in found.values()
    ]


@dataclass(frozen=True)
class Compared:
    """A recipe beside the best one of its group.

    Attributes:
        is_best: whether it has the highest mean quality of the group.
        p_value: how likely a difference from the best is by chance; null of the best itself, and
            where there are no two seeds in common.
    """

    is_best: bool
    p_value: float | None


def compared(recipes: Sequence[Recipe]) -> list[Compared]:
    """Every recipe beside the best of its group, see `groups`, in the order given.

    Paired t-tests of the quality over the seeds that both have, corrected by Holm's procedure for
    the number of those that are compared with one best. Recipes with a single seed are not.
    """
    found = [Compared(False, None)] * len(recipes)
    for places in groups(recipes):
        means = {n: statistics.fmean(recipes[n].values(quality).values()) for n in places}
        best = max(means, key=lambda place: means[place])
        found[best] = Compared(True, None)
        theirs = recipes[best].values(quality)
        differences = {}
        for place in places:
            ours = recipes[place].values(quality)
            common = [seed for seed in ours if seed in theirs]
            if place != best and len(common) > 1:
                differences[place] = [ours[seed] - theirs[seed] for seed in common]
        p_values = holm([paired_t_p_value(each) for each in differences.values()])
        for place, p_value in zip(differences, p_values, strict=True):
            found[place] = Compared(False, p_value)
    return found


def groups(recipes: Sequence[Recipe]) -> list[list[int]]:
    """Places of the recipes with several seeds that are compared with each other.

    Those that differ in the pruner alone, at one sparsity; where there are none, all of them.
    """
    found: dict[tuple[str, float | None], list[int]] = {}
    for place, each in enumerate(recipes):
        if len(each.seeds) > 1:
            key = recipe_key(each.record, without="pruner"), target_sparsity(each.record)
            found.setdefault(key, []).append(place)
    every = list(found.values())
    if any(len(places) > 1 for places in every):
        return every
    return [[place for places in every for place in places]] if every else []


def quality(record: FinishedRun) -> float:
    """On the evaluation rows."""
    return record.metrics.score.quality


def _seed(item: tuple[int | None, FinishedRun]) -> int:
    return item[0] or 0
