"""Ranks of factorized layers: what a rule asks for, and what saves any weights. Pure."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


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
    """Whether a layer of this rank has fewer weights than a whole one. Rank 0 is no layer."""
    return 0 < rank <= break_even(shape)


def reason(rank: int, shape: tuple[int, int]) -> str:
    """Why a layer stays whole."""
    if rank == 0:
        return "no singular value stands out of the noise"
    outputs, inputs = shape
    return (
        f"rank {rank} would take {rank * (outputs + inputs)} weights instead of {outputs * inputs}"
    )
