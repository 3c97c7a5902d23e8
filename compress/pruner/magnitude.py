"""Magnitude pruning: the weights nearest to zero go.

Han, Pool, Tran, Dally, "Learning both Weights and Connections for Efficient Neural Networks",
arXiv:1506.02626. Deviation: one shot instead of rounds of pruning and training; `recovery` trains
once after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from compress.blocks import block_linears
from compress.distillation import Distillation
from compress.interfaces import CompressedModel, Pruner, StageContext
from compress.pruner.masks import (
    check_pattern,
    check_pattern_fits,
    keep_highest,
    keep_pattern,
    masked,
)
from compress.settings import ConfigError, check_choice, check_fraction, parse_pattern

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class Magnitude(Pruner):
    """Zeroes the weights of the transformer's Linear layers whose magnitude is smallest.

    Attributes:
        sparsity: fraction of these weights set to zero, in [0, 1).
        threshold: "layer" takes that fraction of every layer, "global" of all layers together.
        pattern: N:M, such as "2:4": the N largest of every M consecutive weights stay. Null for
            none; with one, `sparsity` must be 1 - N/M and `threshold` "layer".
        recovery: training after pruning, with the mask held.
    """

    sparsity: float
    threshold: str
    pattern: str | None
    recovery: Distillation

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ConfigError: one is outside what it may be, or two contradict each other.
        """
        super().__post_init__()
        check_fraction(self, "sparsity")
        check_choice(self, "threshold", ("layer", "global"))
        check_pattern(self, self.pattern, self.sparsity)
        if self.pattern and self.threshold == "global":
            raise ConfigError("Magnitude.pattern goes with threshold=layer, got threshold=global")

    def check(self, skeleton: PreTrainedModel) -> None:
        """Raises a ConfigError if the pattern does not fit a layer."""
        block_linears(skeleton)
        check_pattern_fits(self.pattern, skeleton)

    def prune(self, model: CompressedModel, ctx: StageContext) -> CompressedModel:
        """The pruned model."""
        scores = {
            name: magnitude_score(linear.weight.detach())
            for name, linear in block_linears(model.module).items()
        }
        return masked(self, model, self._masks(scores), self.recovery, ctx)

    def _masks(self, scores: dict[str, Tensor]) -> dict[str, Tensor]:
        if self.pattern:
            kept, group = parse_pattern("Magnitude.pattern", self.pattern)
            return {name: keep_pattern(score, kept, group) for name, score in scores.items()}
        if self.threshold == "layer":
            return {name: keep_highest(score, self.sparsity) for name, score in scores.items()}
        everything = torch.cat([score.flatten() for score in scores.values()])
        sizes = [score.numel() for score in scores.values()]
        parts = torch.split(keep_highest(everything, self.sparsity), sizes)
        return {name: part.view_as(scores[name]) for name, part in zip(scores, parts, strict=True)}


def magnitude_score(weight: Float[Tensor, "out in"]) -> Float[Tensor, "out in"]:
    """Importance |W_ij|."""
    return weight.abs()
