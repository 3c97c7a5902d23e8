"""Weights as integers: rows as int8, groups of a row as int4 with two codes in a byte. All pure.

int8: symmetric, one scale per row (Krishnamoorthi, arXiv:1806.08342, section 3.1).

int4: rounded to nearest on a grid per group, as the baseline of Frantar et al., "GPTQ",
arXiv:2210.17323, without that paper's updates of the weights that are left. Deviations: a row's
last group is shorter where the group size does not divide the row, and scales are kept as
bfloat16: two bytes each, and, unlike float16, with the whole range of float32. Zero is on every
grid: a weight that is zero stays zero.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int8, UInt8
from torch import Tensor
from torch.nn import functional

INT8_MAX = 127
LARGEST_CODE = 15
SYMMETRIC_ZERO = 8
SYMMETRIC_MAX = 7


def quantize_per_channel(
    weight: Float[Tensor, "out in"],
) -> tuple[Int8[Tensor, "out in"], Float[Tensor, " out"]]:
    """Symmetric int8: scale_i = max_j |W_ij| / 127, q = round(W / scale); zero stays zero."""
    largest = weight.abs().amax(dim=1)
    scale = torch.where(largest > 0, largest / INT8_MAX, torch.ones_like(largest))
    quantized = (weight / scale[:, None]).round().clamp(-INT8_MAX, INT8_MAX)
    return quantized.to(torch.int8), scale


def quantize_groups(
    weight: Float[Tensor, "rows columns"], group_size: int, *, symmetric: bool
) -> tuple[
    UInt8[Tensor, "rows columns"], Float[Tensor, "rows groups"], UInt8[Tensor, "rows groups"]
]:
    """Codes q of 0..15, scales s and zero points z with W ≈ (q − z) · s.

    Symmetric: s = max|W| / 7, z = 8. Asymmetric, with both ends of a group's range widened to
    hold zero: s = (max W − min W) / 15, z = round(−min W / s). Off by half a step at most, and at
    the ends of an asymmetric range by as much more as bfloat16 rounds 15 steps.

    Args:
        weight: what to quantise.
        group_size: consecutive weights of a row that share a scale.
        symmetric: whether zero lies in the middle of each grid.
    """
    grouped = _grouped(weight, group_size)
    if symmetric:
        scale = _scale(grouped.abs().amax(dim=-1) / SYMMETRIC_MAX)
        zero = torch.full_like(scale, SYMMETRIC_ZERO, dtype=torch.float32)
    else:
        lowest = grouped.amin(dim=-1).clamp(max=0)
        highest = grouped.amax(dim=-1).clamp(min=0)
        scale = _scale((highest - lowest) / LARGEST_CODE)
        zero = (-lowest / scale.float()).round().clamp(0, LARGEST_CODE)
    steps = (grouped / scale.float()[..., None]).round()
    codes = (steps + zero[..., None]).clamp(1 if symmetric else 0, LARGEST_CODE)
    columns = weight.shape[-1]
    return codes.to(torch.uint8).flatten(-2)[..., :columns], scale, zero.to(torch.uint8)


def dequantize_groups(
    codes: UInt8[Tensor, "... columns"],
    scale: Float[Tensor, "... groups"],
    zero: UInt8[Tensor, "... groups"] | int,
    group_size: int,
    dtype: torch.dtype,
) -> Float[Tensor, "... columns"]:
    """What codes stand for: (q − z) · s."""
    # In place: fresh memory for every step would take longer than the arithmetic.
    grouped = _grouped(codes, group_size).to(dtype)
    grouped.sub_(zero if isinstance(zero, int) else zero[..., None].to(dtype))
    grouped.mul_(scale[..., None].to(dtype))
    return grouped.flatten(-2)[..., : codes.shape[-1]]


def center_groups(
    codes: UInt8[Tensor, "... columns"], zero: UInt8[Tensor, "... groups"] | int, group_size: int
) -> Int8[Tensor, "... columns"]:
    """Codes counted from their zero point, q − z: zero where the weight is zero."""
    grouped = _grouped(codes.to(torch.int8), group_size)
    grouped = grouped - (zero if isinstance(zero, int) else zero[..., None].to(torch.int8))
    return grouped.flatten(-2)[..., : codes.shape[-1]]


def group_count(columns: int, group_size: int) -> int:
    """Groups in a row, a shorter last one counted."""
    return -(-columns // group_size)


def packed_size(columns: int) -> int:
    """Bytes of a row of 4-bit codes."""
    return -(-columns // 2)


def pack_codes(codes: UInt8[Tensor, "... columns"]) -> UInt8[Tensor, "... bytes"]:
    """Two codes in each byte, the first in the upper half; an odd row ends in half a byte of 0."""
    padded = functional.pad(codes, (0, codes.shape[-1] % 2))
    pairs = padded.reshape(*padded.shape[:-1], -1, 2)
    return pairs[..., 0] << 4 | pairs[..., 1]


def unpack_codes(packed: UInt8[Tensor, "... bytes"], columns: int) -> UInt8[Tensor, "... columns"]:
    """The codes that `pack_codes` packed."""
    return torch.stack([packed >> 4, packed & 15], dim=-1).flatten(-2)[..., :columns]


def _grouped(x: Tensor, group_size: int) -> Tensor:
    """[..., columns] as [..., groups, group size], the last group filled up with zeros."""
    size = min(group_size, x.shape[-1])
    padded = functional.pad(x, (0, -x.shape[-1] % size))
    return padded.reshape(*x.shape[:-1], -1, size)


def _scale(scale: Float[Tensor, ...]) -> Float[Tensor, ...]:
    """As bfloat16, and 1 where all weights are zero."""
    rounded = scale.to(torch.bfloat16)
    return torch.where(rounded > 0, rounded, torch.ones_like(rounded))
