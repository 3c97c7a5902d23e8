"""Quantization of weights: int8 per row, codes of a few bits per group of a row.

int8: symmetric, one scale per row (Krishnamoorthi, arXiv:1806.08342, section 3.1).

Groups: rounded to nearest on a grid per group, as the baseline of Frantar et al., "GPTQ",
arXiv:2210.17323, without that paper's updates of the remaining weights. Symmetric grids have a
signed scale that maps the weight of largest magnitude near the lowest code (-8 of 4 bits), as
llama.cpp's Q4_0, and their length is searched as in its `make_qx_quants`, here over `scale_factors`
and for the least squared error without weighting: with 4 bits 30 % less of it than with max|W| / 7
on Gaussian weights, 22 % without the search. Deviations: a row's last group is shorter where the
group size does not divide the row, and scales are stored as bfloat16: two bytes each and, unlike
float16, with the whole range of float32. Zero is on every grid: a weight that is zero stays zero.

No scale is below the smallest normal float32, where steps would be coarser than the weights they
represent: a group of weights below 1e-36 has an error of at most that number instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Int8, Shaped, UInt8
from torch import Tensor
from torch.nn import functional

from compress.transformer.bit_packing import look_up_codes, unpack_codes

INT8_MAX = 127
# Of 4 bits.
LARGEST_CODE = 15
SYMMETRIC_ZERO = 8
FACTOR_STEP = 0.16  # between two scales of the search, in steps of 4 bits 2 %
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


@dataclass(frozen=True)
class Grid:
    """Codes q of 0..2^bits − 1 in groups of a row, with W ≈ (q − z) · s.

    Attributes:
        bits: of a code, 2 to 8.
        group_size: consecutive weights of a row that share a scale; the last group of a row may be
            shorter.
        symmetric: whether zero is the middle code of each grid; else each group has a zero point.
    """

    bits: int
    group_size: int
    symmetric: bool

    @property
    def largest(self) -> int:
        """The largest code."""
        return int(2**self.bits - 1)

    @property
    def middle(self) -> int:
        """The zero of symmetric grids."""
        return int(2 ** (self.bits - 1))

    def fit(
        self, weight: Float[Tensor, "rows columns"]
    ) -> tuple[Float[Tensor, "rows groups"], UInt8[Tensor, "rows groups"]]:
        """Scales in bfloat16, and zero points.

        Symmetric: s = f · m / −2^(bits − 1) with m the weight of largest magnitude, and f of
        `scale_factors` such that the squared error of the group is least, at most that of f = 1.
        Asymmetric, with each group's range extended to include zero:
        s = (max W − min W) / (2^bits − 1), z = round(−min W / s).
        """
        grouped = in_groups(weight, self.group_size)
        if self.symmetric:
            parts = torch.split(grouped, ROWS_AT_ONCE)
            scale = torch.cat([_best_scale(rows, self.middle) for rows in parts])
            return scale, torch.full_like(scale, self.middle, dtype=torch.uint8)
        scale = _scale(_range_step(grouped, self.largest))
        lowest = grouped.amin(dim=-1).clamp(max=0)
        zero = (-lowest / scale.float()).round().clamp(0, self.largest)
        return scale, zero.to(torch.uint8)

    def encode(
        self,
        weight: Float[Tensor, "rows columns"],
        scale: Float[Tensor, "rows groups"],
        zero: Shaped[Tensor, "rows groups"],
    ) -> UInt8[Tensor, "rows columns"]:
        """The nearest code of each weight; zero points may be real numbers."""
        grouped = in_groups(weight, self.group_size)
        steps = grouped / scale.float()[..., None]
        if not zero.is_floating_point():
            # Apart, so that what is half-way between two codes is rounded as without zero points.
            steps = steps.round()
        codes = (steps + zero[..., None]).round().clamp(0, self.largest)
        return codes.to(torch.uint8).flatten(-2)[..., : weight.shape[-1]]


def quantize_groups(
    weight: Float[Tensor, "rows columns"], group_size: int, *, symmetric: bool, bits: int = 4
) -> tuple[
    UInt8[Tensor, "rows columns"], Float[Tensor, "rows groups"], UInt8[Tensor, "rows groups"]
]:
    """Codes, scales and zero points of a `Grid`; `group_bound` says how large errors are."""
    grid = Grid(bits, group_size, symmetric)
    scale, zero = grid.fit(weight)
    return grid.encode(weight, scale, zero), scale, zero


def group_bound(
    weight: Float[Tensor, "rows columns"], group_size: int, *, symmetric: bool, bits: int = 4
) -> Float[Tensor, "rows columns"]:
    """The largest error of `quantize_groups`, for each weight.

    Asymmetric: half a step, and the bfloat16 rounding of all steps. Symmetric: half a step of the
    longest scale, or what the shortest cuts off, but no more than the squared errors of all weights
    of the group add up to without the search.
    """
    grouped, grid = in_groups(weight, group_size), Grid(bits, group_size, symmetric)
    if symmetric:
        bound = _symmetric_bound(grouped, grid.middle)
    else:
        rounding = FLOAT32_SLACK + BFLOAT16_ROUNDING
        share = 0.5 * (1 + BFLOAT16_ROUNDING) + grid.largest * rounding
        bound = (_range_step(grouped, grid.largest) * share)[..., None].expand_as(grouped)
    return bound.flatten(-2)[..., : weight.shape[-1]] + SMALLEST_SCALE


def dequantize_groups(
    packed: UInt8[Tensor, "... bytes"],
    scale: Float[Tensor, "... groups"],
    zero: Shaped[Tensor, "... groups"] | int,
    group_size: int,
    columns: int,
    bits: int = 4,
) -> Float[Tensor, "... columns"]:
    """The weights of packed codes: (q − z) · s, in float32."""
    if bits == 4:
        values = torch.arange(LARGEST_CODE + 1, dtype=torch.float32, device=packed.device)
        codes = look_up_codes(packed, values)[..., :columns]
    else:
        codes = unpack_codes(packed, columns, bits).float()
    # In place: new memory for every step would take longer than the arithmetic.
    grouped = in_groups(codes, group_size)
    grouped.sub_(zero if isinstance(zero, int) else zero[..., None])
    grouped.mul_(scale[..., None])
    return grouped.flatten(-2)[..., :columns]


def decode_groups(
    codes: UInt8[Tensor, "... columns"],
    scale: Float[Tensor, "... groups"],
    zero: Shaped[Tensor, "... groups"],
    group_size: int,
) -> Float[Tensor, "... columns"]:
    """The weights of codes that are not packed: (q − z) · s, in float32."""
    grouped = (in_groups(codes.float(), group_size) - zero[..., None]) * scale[..., None].float()
    return grouped.flatten(-2)[..., : codes.shape[-1]]


def center_groups(
    codes: UInt8[Tensor, "... columns"],
    zero: UInt8[Tensor, "... groups"] | int,
    group_size: int,
    bits: int = 4,
) -> Int[Tensor, "... columns"]:
    """Codes relative to their zero point, q − z: zero where the weight is zero."""
    dtype = torch.int8 if bits < 8 else torch.int16
    grouped = in_groups(codes.to(dtype), group_size)
    grouped = grouped - (zero if isinstance(zero, int) else zero[..., None].to(dtype))
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


def _range_step(
    grouped: Float[Tensor, "... groups size"], steps: int
) -> Float[Tensor, "... groups"]:
    """The distance between two neighbors on each group's asymmetric grid, in float32."""
    # Divided first: the range of very large weights would overflow float32.
    ends = (grouped / steps).aminmax(dim=-1)
    return ends.max.clamp(min=0) - ends.min.clamp(max=0)


def scale_factors(middle: int) -> tuple[float, ...]:
    """Lengths to try of a scale that maps the largest magnitude to exactly −middle.

    Shorter ones cut it off for the sake of the others, longer ones leave it inside. Past
    middle / (middle − 1) the grid would end beyond every weight.
    """
    return tuple(1 + FACTOR_STEP * count / middle for count in range(-7, 7))


def _signed_step(
    grouped: Float[Tensor, "... groups size"], middle: int
) -> Float[Tensor, "... groups"]:
    """The signed step that maps each group's weight of largest magnitude to −middle."""
    ends = grouped.aminmax(dim=-1)
    return torch.where(ends.max > -ends.min, ends.max, ends.min) / -middle


def _best_scale(
    grouped: Float[Tensor, "... groups size"], middle: int
) -> Float[Tensor, "... groups"]:
    """The scale of least squared error among `scale_factors`, in bfloat16."""
    step = _signed_step(grouped, middle)
    best = _scale(step)
    least = _squared_errors(grouped, step, best, middle)
    for factor in scale_factors(middle):
        scale = _scale(step * factor)
        error = _squared_errors(grouped, step, scale, middle)
        best = torch.where(error < least, scale, best)
        least = torch.minimum(error, least)
    return best


def _squared_errors(
    grouped: Float[Tensor, "... groups size"],
    step: Float[Tensor, "... groups"],
    scale: Float[Tensor, "... groups"],
    middle: int,
) -> Float[Tensor, "... groups"]:
    """The squared error of each group with a scale, in units of its step: no weight overflows."""
    unit = _away_from_zero(step)
    weight, ratio = grouped / unit[..., None], (scale.float() / unit)[..., None]
    codes = (weight / ratio).round_().clamp_(-middle, middle - 1)
    return codes.mul_(ratio).sub_(weight).square_().sum(dim=-1)


def _symmetric_bound(
    grouped: Float[Tensor, "... groups size"], middle: int
) -> Float[Tensor, "... groups size"]:
    """`group_bound` of symmetric groups."""
    step, factors = _signed_step(grouped, middle), scale_factors(middle)
    size = step.abs()[..., None]
    shortest = factors[0] * (1 - BFLOAT16_ROUNDING)
    longest = factors[-1] * (1 + BFLOAT16_ROUNDING)
    # One code less is on the side away from the largest magnitude than on its own.
    fewer = grouped.sign() == step.sign()[..., None]
    cut = grouped.abs() - (middle - fewer.float()) * shortest * size
    together = _squared_errors(grouped, step, _scale(step), middle).sqrt()[..., None]
    bound = torch.maximum(cut, longest / 2 * size).minimum(together * size)
    return bound + middle * FLOAT32_SLACK * size


def _scale(step: Float[Tensor, ...]) -> Float[Tensor, ...]:
    """A step as a bfloat16 scale of the same sign, 1 where all weights are zero."""
    return _away_from_zero(step).to(torch.bfloat16)


def _away_from_zero(step: Float[Tensor, ...]) -> Float[Tensor, ...]:
    """Steps of at least `SMALLEST_SCALE`; 1 for zero."""
    return torch.where(step == 0, 1.0, step.abs().clamp_min(SMALLEST_SCALE).copysign(step))
