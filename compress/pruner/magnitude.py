"""Magnitude pruning: the weights nearest to zero go.

Han, Pool, Tran, Dally, "Learning both Weights and Connections for Efficient Neural Networks",
arXiv:1506.02626. Deviation: one shot instead of rounds of pruning and training; `recovery` trains
once after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from compress.config.errors import ConfigError
from compress.config.settings import check_choice, parse_pattern
from compress.interfaces import StageContext
from compress.pruner.components.masks import keep_highest, keep_pattern, masks_together
from compress.pruner.components.reducer import MaskPruner, Workpiece
from compress.transformer.blocks import scoped_linears, weight_matrix


@dataclass(frozen=True, kw_only=True)
class Magnitude(MaskPruner):
    """Zeroes the weights of the transformer's Linear layers whose magnitude is smallest.

    Attributes:
        threshold: "layer" takes the asked fraction of every layer, "global" of all layers in
            scope together, which needs the scores of all of them in memory.
    """

    version = 2  # the history claims the pattern

    threshold: str

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ConfigError: one is outside what it may be, or two contradict each other.
        """
        super().__post_init__()
        check_choice(self, "threshold", ("layer", "global"))
        if self.pattern and self.threshold == "global":
            raise ConfigError("Magnitude.pattern goes with threshold=layer, got threshold=global")

    @torch.no_grad()
    def reduce_(self, work: Workpiece, ctx: StageContext) -> None:
        """Masks every layer in scope."""
        linears = scoped_linears(work.module, self.scope)
        if self.threshold == "layer":
            for name, linear in linears.items():
                work.mask_(name, linear, self._mask(magnitude_score(weight_matrix(linear))))
            return
        scores = {name: magnitude_score(weight_matrix(part)) for name, part in linears.items()}
        masks = masks_together(
            scores, self.threshold, partial(keep_highest, sparsity=self.sparsity)
        )
        for name, linear in linears.items():
            work.mask_(name, linear, masks[name])

    def _mask(self, score: Float[Tensor, "out in"]) -> Bool[Tensor, "out in"]:
        if self.pattern is None:
            return keep_highest(score, self.sparsity)
        return keep_pattern(score, *parse_pattern("Magnitude.pattern", self.pattern))


def magnitude_score(weight: Float[Tensor, "out in"]) -> Float[Tensor, "out in"]:
    """Importance |W_ij|."""
    return weight.abs()
