"""Structured pruning: removes whole units and leaves no zeros, so every runtime is faster.

What heads and neurons share: a score for each unit (`importance`), how many each layer keeps
(`allocation`), and the cut. All layers are scored on the intact model before the first cut. The
formulas and their papers are in `compress/shaping/importance.py` and `units.py`.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError
from compress.config.fields import Fraction, OneOf, PositiveInt
from compress.interfaces import StageContext
from compress.pruner.components.base import BasePruner, PruningState
from compress.shaping.importance import IMPORTANCES, Sites
from compress.shaping.units import ALLOCATIONS, highest, uniform_kept, unit_sites
from compress.transformer.surgery import keep_units_

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class UnitPruner(BasePruner, ABC):
    """Removes the units with the lowest importance.

    Attributes:
        sparsity: fraction of all units to remove, rounded to a number of units that `round_to`
            allows; `notes` has the actual value.
        importance: "l1", "random", "taylor" or "activation": see
            `compress/shaping/importance.py`.
        allocation: "uniform" removes the same fraction from every layer, "global" the lowest of all
            layers together, which makes layers uneven.
        round_to: the number of units kept in a layer is a positive multiple of it.
        noun: what a unit is called, in the plural: its name in `compress.shaping.units.KINDS`.
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
        found = IMPORTANCES[self.importance](work.module, work.tokenizer, sites, ctx)
        scores = [score.cpu() for score in found]
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
        sites = unit_sites(module, self.noun)
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
