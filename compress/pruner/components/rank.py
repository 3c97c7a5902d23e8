"""Ranks of factorized layers: what a rule asks for, and what saves any weights."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from pydantic.dataclasses import dataclass
from torch import Tensor

from compress.config.errors import ConfigError
from compress.config.fields import PositiveInt, Share
from compress.config.settings import Settings


@dataclass(frozen=True, kw_only=True)
class RankRule(Settings):
    """What chooses each layer's rank.

    Attributes:
        by: "sparsity" of the pruner, "energy" or "fixed"; the other two are ignored. By sparsity,
            the rank is (1 - sparsity) · out · in / (out + in), rounded down.
        energy: fraction of Σσ² to keep, in (0, 1], of the singular values after weighting and
            denoising.
        fixed: the rank itself.
        min: minimum rank; denoising can result in less.
        max: maximum rank; null for no limit.
    """

    by: Literal["sparsity", "energy", "fixed"]
    energy: Share
    fixed: PositiveInt
    min: PositiveInt
    max: PositiveInt | None

    def __post_init__(self) -> None:
        """Checks that the limits leave a rank."""
        super().__post_init__()
        if self.max is not None and self.max < self.min:
            raise ConfigError(
                f"RankRule.max must be null or at least min={self.min}, got {self.max}"
            )

    def rank(
        self, shape: tuple[int, int], sparsity: float, singular: Float[Tensor, " n"] | None
    ) -> int:
        """The rank of a layer [out, in]; without singular values, the largest that it can have.

        Args:
            shape: outputs and inputs of the layer.
            sparsity: the share of its weights to remove.
            singular: its singular values, in descending order.
        """
        limit = min(shape) if singular is None else len(singular)
        if self.by == "sparsity":
            asked = ratio_rank(shape, 1 - sparsity)
        elif self.by == "fixed":
            asked = self.fixed
        else:
            asked = break_even(shape) if singular is None else energy_rank(singular, self.energy)
        return min(max(asked, self.min), limit, self.max or limit)


def energy_rank(singular: Float[Tensor, " n"], energy: float) -> int:
    """The fewest singular values, largest first, that hold the share `energy` of Σσ²."""
    held = singular.square().cumsum(dim=0)
    return int((held < energy * held[-1]).sum()) + 1 if len(held) else 0


def ratio_rank(shape: tuple[int, int], ratio: float) -> int:
    """Returns ratio · out · in / (out + in), rounded down: it leaves that share of the weights."""
    outputs, inputs = shape
    # What is whole but for the rounding of floats, of 1 - sparsity too, counts as whole.
    return int(ratio * outputs * inputs / (outputs + inputs) + 1e-9)


def break_even(shape: tuple[int, int]) -> int:
    """The largest rank r with r · (out + in) < out · in."""
    outputs, inputs = shape
    return (outputs * inputs - 1) // (outputs + inputs)


def saves(rank: int, shape: tuple[int, int]) -> bool:
    """Whether a layer of this rank has fewer weights than a whole one; false for rank 0."""
    return 0 < rank <= break_even(shape)


def reason(rank: int, shape: tuple[int, int]) -> str:
    """Why a layer stays whole."""
    if rank == 0:
        return "no singular value stands out of the noise"
    outputs, inputs = shape
    return (
        f"rank {rank} would take {rank * (outputs + inputs)} weights instead of {outputs * inputs}"
    )
