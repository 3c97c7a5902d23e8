"""Structured pruning: removes whole units and leaves no zeros, so every runtime is faster.

What heads and neurons share: a score for each unit (`importance`), how many each layer keeps
(`allocation`), and the cut. All layers are scored on the intact model before the first cut.

Scores of different layers do not compare, so `global` divides each layer's by its ℓ2 norm first, as
Michel et al. (arXiv:1905.10650, section 4.1, after Molchanov et al., arXiv:1611.06440) do; it then
does so for every importance. Deviations from Michel et al.: one cut instead of 10 % of the heads at
a time, and no layer loses all its units.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from jaxtyping import Float, Int
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional

from compress.config.errors import ConfigError
from compress.config.fields import Fraction, OneOf, PositiveInt
from compress.interfaces import StageContext
from compress.pruner.components.base import BasePruner, PruningState
from compress.pruner.components.importance import IMPORTANCES, Scores, Sites
from compress.transformer.blocks import Block, Units, known_blocks
from compress.transformer.surgery import keep_units_

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class UnitPruner(BasePruner, ABC):
    """Removes the units with the lowest importance.

    Attributes:
        sparsity: fraction of all units to remove, rounded to a number of units that `round_to`
            allows; `notes` has the actual value.
        importance: "l1", "random", "taylor" or "activation": see `importance.py`.
        allocation: "uniform" removes the same fraction from every layer, "global" the lowest of all
            layers together, which makes layers uneven.
        round_to: the number of units kept in a layer is a positive multiple of it.
        noun: what a unit is called, in the plural.
        few: whether a layer's units are few enough to note which of them stay.
    """

    version = 2  # every layer is called with its own masks and positions

    noun: ClassVar[str]
    few: ClassVar[bool]
    knobs = ("sparsity",)

    sparsity: Fraction
    importance: Annotated[str, OneOf(IMPORTANCES)]
    allocation: Annotated[str, OneOf(ALLOCATIONS)]
    round_to: PositiveInt

    @abstractmethod
    def units(self, block: Block) -> Units:
        """The units of a block; raises a ConfigError if they cannot be taken out."""

    def foresees_shapes(self) -> bool:
        """Whether the number of units per layer does not depend on scores."""
        return self.allocation == "uniform"

    def check(self, skeleton: PreTrainedModel) -> PreTrainedModel:
        """The skeleton after pruning; evenly pruned layers stand in for a global allocation.

        Raises:
            ConfigError: a layer has fewer units than `round_to`, or the sparsity asks for less
                than the smallest step.
        """
        sites = self._sites(skeleton)
        counts = uniform_kept([units.count for _, units in sites], self.sparsity, self.round_to)
        for (block, units), count in zip(sites, counts, strict=True):
            keep_units_(block, units, torch.arange(count))
        return skeleton

    def prune_(self, work: PruningState, ctx: StageContext) -> None:
        """Scores the units of all layers, then cuts."""
        sites = self._sites(work.module)
        scores = [score.cpu() for score in IMPORTANCES[self.importance](work, sites, ctx)]
        counts = ALLOCATIONS[self.allocation](scores, self.sparsity, self.round_to)
        kept = [highest(score, count) for score, count in zip(scores, counts, strict=True)]
        for (block, units), stays in zip(sites, kept, strict=True):
            if len(stays) < units.count:
                keep_units_(block, units, stays)
                work.expect_shapes([f"{block.name}.{path}" for path in (*units.rows, units.reader)])
        work.notes[f"{self.noun}_kept"] = counts
        removed = 1 - sum(counts) / sum(len(score) for score in scores)
        work.notes[f"{self.noun}_removed_fraction"] = removed
        if self.few:
            work.notes[f"{self.noun}_kept_indices"] = [stays.tolist() for stays in kept]

    def _sites(self, module: PreTrainedModel) -> Sites:
        """Every block with its units, checked against the settings."""
        sites = [(block, self.units(block)) for block in known_blocks(module)]
        for block, units in sites:
            if self.round_to > units.count:
                raise ConfigError(
                    f"{type(self).__name__}.round_to must be at most {units.count}, as many "
                    f"{self.noun} as {block.name} has, got {self.round_to}"
                )
        counts = [units.count for _, units in sites]
        alike = [torch.ones(count) for count in counts]
        kept = ALLOCATIONS[self.allocation](alike, self.sparsity, self.round_to)
        if self.sparsity > 0 and sum(kept) == sum(counts):
            raise ConfigError(self._nothing_removed(counts))
        return sites

    def _nothing_removed(self, counts: Sequence[int]) -> str:
        name = type(self).__name__
        if max(counts) == self.round_to:
            return (
                f"{name}.sparsity must be 0 where round_to={self.round_to} keeps all {self.noun} "
                f"of a layer, got {self.sparsity:g}; lower round_to"
            )
        among = sum(counts) if self.allocation == "global" else max(counts)
        return (
            f"{name}.sparsity={self.sparsity:g} removes nothing: the smallest step is "
            f"{self.round_to} of {among} {self.noun}, sparsity={self.round_to / among:g}"
        )


def uniform_kept(counts: Sequence[int], sparsity: float, round_to: int) -> list[int]:
    """How many of its units each layer keeps when all lose the same fraction.

    The multiple of `round_to` nearest to (1 - sparsity) · count (half-way: the even multiple), but
    at least `round_to`, and no more than there are. A sparsity of 0 keeps all, multiple or not.
    """
    if sparsity == 0:
        return list(counts)
    return [
        round_to * min(max(round((1 - sparsity) * count / round_to), 1), count // round_to)
        for count in counts
    ]


def global_kept(scores: Scores, sparsity: float, round_to: int) -> list[int]:
    """How many of its units each layer keeps when those of all layers compete.

    Each layer's scores are divided by their ℓ2 norm. Its units, best first, form groups of
    `round_to`; those left over at the end go. The first group of every layer stays. Then the groups
    of highest mean score stay, of any layer (ties: the earlier layer's), until the number of groups
    is the one nearest to (1 - sparsity) · units / round_to. A sparsity of 0 keeps all.
    """
    counts = [len(score) for score in scores]
    if sparsity == 0:
        return counts
    tiny = torch.finfo(torch.float32).tiny  # a layer of zeros keeps them
    alike = [functional.normalize(score, dim=0, eps=tiny) for score in scores]
    # Past each layer's first group, which does not compete.
    worths = [_group_means(score, round_to)[1:] for score in alike]
    wanted = round((1 - sparsity) * sum(counts) / round_to)
    more = max(wanted - len(counts), 0)
    owners = torch.cat([torch.full((len(w),), layer) for layer, w in enumerate(worths)])
    best = torch.cat(worths).sort(descending=True, stable=True).indices[:more]
    groups = 1 + owners[best].bincount(minlength=len(counts))
    kept: list[int] = (groups * round_to).tolist()
    return kept


ALLOCATIONS: dict[str, Callable[[Scores, float, int], list[int]]] = {
    "uniform": lambda scores, *rest: uniform_kept([len(score) for score in scores], *rest),
    "global": global_kept,
}


def highest(score: Float[Tensor, " units"], count: int) -> Int[Tensor, " kept"]:
    """Indices of the `count` highest scores, in order of place; of equal ones the earlier."""
    return score.sort(descending=True, stable=True).indices[:count].sort().values


def _group_means(score: Float[Tensor, " units"], size: int) -> Float[Tensor, " groups"]:
    """The mean score of the best `size` units, of the next best, and so on."""
    ranked = score.sort(descending=True).values
    return ranked[: len(ranked) // size * size].view(-1, size).mean(dim=1)
