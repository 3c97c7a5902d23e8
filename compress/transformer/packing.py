"""Quantization of weights: int8 per row, int4 per group of a row with two codes in a byte.

int8: symmetric, one scale per row (Krishnamoorthi, arXiv:1806.08342, section 3.1).

int4: rounded to nearest on a grid per group, as the baseline of Frantar et al., "GPTQ",
arXiv:2210.17323, without that paper's updates of the remaining weights. Symmetric grids have a
signed scale that maps the weight of largest magnitude near the code -8, as llama.cpp's Q4_0, and
their length is searched as in its `make_qx_quants`, here over `SCALE_FACTORS` and for the least
squared error without weighting: 30 % less of it than with max|W| / 7 on Gaussian weights, 22 %
without the search. Deviations: a row's last group is shorter where the group size does not divide
the row, and scales are stored as bfloat16: two bytes each and, unlike float16, with the whole range
of float32. Zero is on every grid: a weight that is zero stays zero.

No scale is below the smallest normal float32, where steps would be coarser than the weights they
represent: a group of weights below 1e-36 has an error of at most that number instead.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int8, UInt8
from torch import Tensor
from torch.nn import functional

INT8_MAX = 127
LARGEST_CODE = 15
SYMMETRIC_ZERO = 8
# Of the scale that maps the largest magnitude to exactly -8: shorter ones cut it off for the sake
# of the others, longer ones leave it inside. Past 8/7 the grid would end beyond every weight.
SCALE_FACTORS = tuple(percent / 100 for percent in range(86, 114, 2))
ROWS_AT_ONCE = 256  # of the search: what it computes with stays in the processor's cache
SMALLEST_SCALE = torch.finfo(torch.float32).tiny
# Each of the few float32 operations from weight to code and back has a relative error of 2⁻²⁴.
FLOAT32_SLACK = 2**-21
# bfloat16 has 8 significant bits: the relative error of a scale.
BFLOAT16_ROUNDING = 2**-8


def quantize_per_channel(
    weight: Float[Tensor, "out in"],
) -> tuple[Int8[Tensor, "out in"], Float[Tensor, " out"]]:
    """Symmetric int8: scale_i = max_j |W_ij| / 127, q = round(W / scale); zero stays zero."""
    largest = weight.abs().amax(dim=1)
    scale = torch.where(largest > 0, (largest / INT8_MAX).clamp_min(SMALLEST_SCALE), 1.0)
    quantized = (weight / scale[:, None]).round().clamp(-INT8_MAX, INT8_MAX)
    return quantized.to(torch.int8), scale


def channel_bound(weight: Float[Tensor, "out in"]) -> Float[Tensor, "out 1"]:
    """The largest error of `quantize_per_channel`: half a step, max_j |W_ij| / 254."""
    largest = weight.abs().amax(dim=1, keepdim=True)
    return largest * ((1 + INT8_MAX * FLOAT32_SLACK) / (2 * INT8_MAX)) + SMALLEST_SCALE


def quantize_groups(
    weight: Float[Tensor, "rows columns"], group_size: int, *, symmetric: bool
) -> tuple[
    UInt8[Tensor, "rows columns"], Float[Tensor, "rows groups"], UInt8[Tensor, "rows groups"]
]:
    """Codes q of 0..15, scales s and zero points z with W ≈ (q − z) · s.

    Symmetric: s = f · m / −8 with m the weight of largest magnitude, z = 8, and f of
    `SCALE_FACTORS` such that the squared error of the group is least, at most that of f = 1.
    Asymmetric, with each group's range extended to include zero: s = (max W − min W) / 15,
    z = round(−min W / s). `group_bound` says how large errors are.

    Args:
        weight: float weights.
        group_size: consecutive weights of a row that share a scale.
        symmetric: whether zero is the code 8 of each grid.
    """
    grouped = in_groups(weight, group_size)
    if symmetric:
        scale = torch.cat([_best_scale(rows) for rows in torch.split(grouped, ROWS_AT_ONCE)])
        zero = torch.full_like(scale, SYMMETRIC_ZERO, dtype=torch.float32)
    else:
        scale = _scale(_range_step(grouped))
        lowest = grouped.amin(dim=-1).clamp(max=0)
        zero = (-lowest / scale.float()).round().clamp(0, LARGEST_CODE)
    steps = (grouped / scale.float()[..., None]).round()
    codes = (steps + zero[..., None]).clamp(0, LARGEST_CODE)
    columns = weight.shape[-1]
    return codes.to(torch.uint8).flatten(-2)[..., :columns], scale, zero.to(torch.uint8)


def group_bound(
    weight: Float[Tensor, "rows columns"], group_size: int, *, symmetric: bool
) -> Float[Tensor, "rows columns"]:
    """The largest error of `quantize_groups`, for each weight.

    Asymmetric: half a step, and the bfloat16 rounding of 15 steps. Symmetric: half a step of the
    longest scale, or what the shortest cuts off, but no more than the squared errors of all weights
    of the group add up to without the search.
    """
    grouped = in_groups(weight, group_size)
    if symmetric:
        bound = _symmetric_bound(grouped)
    else:
        share = 0.5 * (1 + BFLOAT16_ROUNDING) + LARGEST_CODE * (FLOAT32_SLACK + BFLOAT16_ROUNDING)
        bound = (_range_step(grouped) * share)[..., None].expand_as(grouped)
    return bound.flatten(-2)[..., : weight.shape[-1]] + SMALLEST_SCALE


def dequantize_groups(
    packed: UInt8[Tensor, "... bytes"],
    scale: Float[Tensor, "... groups"],
    zero: UInt8[Tensor, "... groups"] | int,
    group_size: int,
    columns: int,
) -> Float[Tensor, "... columns"]:
    """The weights of packed codes: (q − z) · s, in float32."""
    values = torch.arange(LARGEST_CODE + 1, dtype=torch.float32, device=packed.device)
    # In place: new memory for every step would take longer than the arithmetic.
    grouped = in_groups(look_up_codes(packed, values)[..., :columns], group_size)
    grouped.sub_(zero if isinstance(zero, int) else zero[..., None])
    grouped.mul_(scale[..., None])
    return grouped.flatten(-2)[..., :columns]


def center_groups(
    codes: UInt8[Tensor, "... columns"], zero: UInt8[Tensor, "... groups"] | int, group_size: int
) -> Int8[Tensor, "... columns"]:
    """Codes relative to their zero point, q − z: zero where the weight is zero."""
    grouped = in_groups(codes.to(torch.int8), group_size)
    grouped = grouped - (zero if isinstance(zero, int) else zero[..., None].to(torch.int8))
    return grouped.flatten(-2)[..., : codes.shape[-1]]


def in_groups(x: Tensor, group_size: int) -> Tensor:
    """[..., columns] as [..., groups, group size], the last group padded with zeros.

    A view where nothing is padded; a row shorter than a group is one group of its own length.
    """
    size = min(group_size, x.shape[-1])
    missing = -x.shape[-1] % size
    padded = functional.pad(x, (0, missing)) if missing else x
    return padded.reshape(*x.shape[:-1], -1, size)


def group_count(columns: int, group_size: int) -> int:
    """Groups in a row, including a shorter last one."""
    return -(-columns // group_size)


def packed_size(columns: int) -> int:
    """Bytes of a row of 4-bit codes."""
    return -(-columns // 2)


def pack_codes(codes: UInt8[Tensor, "... columns"]) -> UInt8[Tensor, "... bytes"]:
    """Two codes in each byte, the first in the upper half; odd rows are padded with 0."""
    padded = functional.pad(codes, (0, codes.shape[-1] % 2))
    pairs = padded.reshape(*padded.shape[:-1], -1, 2)
    return pairs[..., 0] << 4 | pairs[..., 1]


def unpack_codes(packed: UInt8[Tensor, "... bytes"], columns: int) -> UInt8[Tensor, "... columns"]:
    """The inverse of `pack_codes`."""
    return torch.stack([packed >> 4, packed & 15], dim=-1).flatten(-2)[..., :columns]


def pack_signed(codes: Int8[Tensor, ...]) -> UInt8[Tensor, " bytes"]:
    """Codes of -8..7, two in each byte, the first in the lower half: int4 of ONNX and OpenVINO."""
    flat = (codes.flatten() & LARGEST_CODE).to(torch.uint8)
    pairs = functional.pad(flat, (0, len(flat) % 2)).view(-1, 2)
    return pairs[:, 1] << 4 | pairs[:, 0]


def look_up_codes(
    packed: UInt8[Tensor, "... bytes"], values: Float[Tensor, " 16"]
) -> Float[Tensor, "... columns"]:
    """The value of each packed code, in a new tensor.

    Each byte is looked up as eight bytes, which are two float32 values: many times faster than
    unpacking the codes first.
    """
    byte = torch.arange(256, device=packed.device)
    pairs = torch.stack([values[byte >> 4], values[byte & 15]], dim=1).view(torch.int64)[:, 0]
    found = pairs.index_select(0, packed.flatten().int()).view(torch.float32)
    return found.view(*packed.shape[:-1], -1)


def _range_step(grouped: Float[Tensor, "... groups size"]) -> Float[Tensor, "... groups"]:
    """The distance between two neighbors on each group's asymmetric grid, in float32."""
    # Divided first: the range of very large weights would overflow float32.
    ends = (grouped / LARGEST_CODE).aminmax(dim=-1)
    return ends.max.clamp(min=0) - ends.min.clamp(max=0)


def _signed_step(grouped: Float[Tensor, "... groups size"]) -> Float[Tensor, "... groups"]:
    """The signed step that maps each group's weight of largest magnitude to -8."""
    ends = grouped.aminmax(dim=-1)
    return torch.where(ends.max > -ends.min, ends.max, ends.min) / -SYMMETRIC_ZERO


def _best_scale(grouped: Float[Tensor, "... groups size"]) -> Float[Tensor, "... groups"]:
    """The scale of least squared error among `SCALE_FACTORS`, in bfloat16."""
    step = _signed_step(grouped)
    best = _scale(step)
    least = _squared_errors(grouped, step, best)
    for factor in SCALE_FACTORS:
        scale = _scale(step * factor)
        error = _squared_errors(grouped, step, scale)
        best = torch.where(error < least, scale, best)
        least = torch.minimum(error, least)
    return best


def _squared_errors(
    grouped: Float[Tensor, "... groups size"],
    step: Float[Tensor, "... groups"],
    scale: Float[Tensor, "... groups"],
) -> Float[Tensor, "... groups"]:
    """The squared error of each group with a scale, in units of its step: no weight overflows."""
    unit = _away_from_zero(step)
    weight, ratio = grouped / unit[..., None], (scale.float() / unit)[..., None]
    codes = (weight / ratio).round_().clamp_(-SYMMETRIC_ZERO, LARGEST_CODE - SYMMETRIC_ZERO)
    return codes.mul_(ratio).sub_(weight).square_().sum(dim=-1)


def _symmetric_bound(grouped: Float[Tensor, "... groups size"]) -> Float[Tensor, "... groups size"]:
    """`group_bound` of symmetric groups."""
    step = _signed_step(grouped)
    size = step.abs()[..., None]
    shortest = SCALE_FACTORS[0] * (1 - BFLOAT16_ROUNDING)
    longest = SCALE_FACTORS[-1] * (1 + BFLOAT16_ROUNDING)
    # Seven codes are on the side away from the largest magnitude, eight on its own.
    seven = grouped.sign() == step.sign()[..., None]
    cut = grouped.abs() - (SYMMETRIC_ZERO - seven.float()) * shortest * size
    together = _squared_errors(grouped, step, _scale(step)).sqrt()[..., None]
    bound = torch.maximum(cut, longest / 2 * size).minimum(together * size)
    return bound + SYMMETRIC_ZERO * FLOAT32_SLACK * size


def _scale(step: Float[Tensor, ...]) -> Float[Tensor, ...]:
    """A step as a bfloat16 scale of the same sign, 1 where all weights are zero."""
    return _away_from_zero(step).to(torch.bfloat16)


def _away_from_zero(step: Float[Tensor, ...]) -> Float[Tensor, ...]:
    """Steps of at least `SMALLEST_SCALE`; 1 for zero."""
    return torch.where(step == 0, 1.0, step.abs().clamp_min(SMALLEST_SCALE).copysign(step))
