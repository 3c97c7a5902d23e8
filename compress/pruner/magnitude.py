"""Magnitude pruning: the weights nearest to zero go.

Han, Pool, Tran, Dally, "Learning both Weights and Connections for Efficient Neural Networks",
arXiv:1506.02626. Deviation: one shot instead of rounds of pruning and training; `recovery` trains
once after it.
"""

from __future__ import annotations

from jaxtyping import Float
from pydantic.dataclasses import dataclass
from torch import Tensor

from compress.pruner.components.mask_pruner import MaskPruner


@dataclass(frozen=True, kw_only=True)
class Magnitude(MaskPruner):
    """Zeroes the weights of the transformer's Linear layers whose magnitude is smallest."""

    version = 2  # the history has the expected pattern

    def score(
        self, weight: Float[Tensor, "out in"], input_norm: Float[Tensor, " in"]
    ) -> Float[Tensor, "out in"]:
        """Importance |W_ij|."""
        return weight.abs()
