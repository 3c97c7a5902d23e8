"""NF4: weights as 4-bit codes for the quantiles of a normal distribution.

Dettmers et al., "QLoRA", arXiv:2305.14314, section 3: blocks of 64 weights share a largest absolute
value, each weight becomes the nearest of 16 levels in units of it, one of them zero. With double
quantization the largest values, less their mean, are themselves 8-bit codes in blocks of 256: of a
type whose steps grow with the number (Dettmers, "8-Bit Approximations for Parallelism in Deep
Learning", arXiv:1511.04561, section 2.1). Here for deployment, not for training: there are no
adapters. Codes, levels and largest values are those of bitsandbytes, the authors' library, which is
not used: its kernel for AVX-512, 0.50, takes the wrong block's largest value in rows whose length
is a multiple of 16 and not of 64.

It saves bytes and no time: the weights are dequantized in every call. Norms and biases stay
float32, and so do embeddings unless asked.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int8, UInt8
from pydantic.dataclasses import dataclass
from torch import Tensor

from compress.quantizer.components.linears import LinearFormat, QuantizedLinear
from compress.transformer.bit_packing import look_up_codes, pack_codes, packed_size, unpack_codes
from compress.transformer.blocks import Linear
from compress.transformer.packing import FLOAT32_SLACK, SMALLEST_SCALE, group_count, in_groups

BLOCK_SIZE = 64
NESTED_BLOCK_SIZE = 256
ZERO_CODE = 7
# Appendix E: quantiles of N(0, 1), 7 below zero, zero itself and 8 above it, over the largest.
LEVELS = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
    -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
    0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
    0.7229568362236023, 1.0,
)  # fmt: skip
EXPONENTS = 7  # decades below 1 that the 8-bit type of double quantization reaches


@dataclass(frozen=True, kw_only=True)
class Nf4(LinearFormat):
    """Stores the weight of every Linear as NF4.

    Attributes:
        double_quantization: whether the blocks' scales are quantized, too: 4.13 bits per weight
            instead of 4.5.
    """

    version = 3
    weight_bits = 4

    double_quantization: bool

    def quantized(self, linear: Linear) -> Nf4Linear:
        """The NF4 version of a Linear."""
        return Nf4Linear.of(linear, self.double_quantization)


class Nf4Linear(QuantizedLinear):
    """A Linear with packed NF4 weights."""

    kind = "nf4_linear"
    bits = 4

    def __init__(
        self, in_features: int, out_features: int, bias: bool, double_quantization: bool
    ) -> None:
        """An empty layer."""
        super().__init__(in_features, out_features, bias)
        self.qweight: Tensor
        self.absmax: Tensor
        self.absmax_scale: Tensor | None
        self.absmax_offset: Tensor | None
        self._levels: Tensor
        self._absmax_levels: Tensor
        # Blocks run on from row to row, as the authors have them.
        entries = out_features * in_features
        blocks = group_count(entries, BLOCK_SIZE)
        nested = group_count(blocks, NESTED_BLOCK_SIZE) if double_quantization else None
        absmax = torch.zeros(blocks, dtype=torch.float32 if nested is None else torch.uint8)
        self.register_buffer("qweight", torch.zeros(packed_size(entries), dtype=torch.uint8))
        self.register_buffer("absmax", absmax)
        self.register_buffer("absmax_scale", None if nested is None else torch.zeros(nested))
        self.register_buffer("absmax_offset", None if nested is None else torch.zeros(()))
        # The same for every layer, so not on disk; buffers, so that they move to the device.
        self.register_buffer("_levels", torch.tensor(LEVELS), persistent=False)
        self.register_buffer("_absmax_levels", dynamic_levels(), persistent=False)

    def encoded(self, weight: Float[Tensor, "out in"]) -> dict[str, Tensor]:
        """Packed codes, and the blocks' largest values, plain or as codes of their own."""
        blocks = in_groups(weight.cpu().flatten(), BLOCK_SIZE)
        absmax = blocks.abs().amax(dim=1)
        codes = _nearest(_in_units_of(absmax, blocks), torch.tensor(LEVELS))
        state = {"qweight": pack_codes(codes.flatten()[: weight.numel()].to(torch.uint8))}
        nested = {"absmax": absmax} if self.absmax_scale is None else _quantize_absmax(absmax)
        return {**state, **nested}

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments."""
        nested = {"double_quantization": self.absmax_scale is not None}
        return {**super().arguments(), **nested}

    def codes(self) -> Int8[Tensor, "out in"]:
        """The indices of the levels, counted from that of zero."""
        codes = unpack_codes(self.qweight, self.out_features * self.in_features)
        return codes.to(torch.int8).view(self.plain_shape()) - ZERO_CODE

    def matrix(self) -> Float[Tensor, "out in"]:
        """The level of each code times the largest value of its block."""
        found = look_up_codes(self.qweight, self._levels)
        weight = in_groups(found, BLOCK_SIZE).mul_(self._largest()[:, None]).flatten()
        return weight[: self.out_features * self.in_features].view(self.plain_shape())

    def error_bound(self, weight: Float[Tensor, "out in"]) -> Float[Tensor, "out in"]:
        """Half the widest gap between levels times a block's largest value, and the latter's error.

        That is half the widest gap of its own levels, a hundredth or less, times the largest of
        256 blocks' distances from their mean.
        """
        absmax = in_groups(weight.flatten(), BLOCK_SIZE).abs().amax(dim=1)
        bound = absmax * (self._levels.diff().max() / 2 + FLOAT32_SLACK)
        if self.absmax_scale is not None:
            mean = absmax.double().mean().float()
            centered = absmax - mean
            widest = in_groups(centered, NESTED_BLOCK_SIZE).abs().amax(dim=1)
            share = self._absmax_levels.diff().max() / 2 + FLOAT32_SLACK
            bound += _spread(widest * share, len(absmax), NESTED_BLOCK_SIZE)
            bound += mean * FLOAT32_SLACK
        return _spread(bound + SMALLEST_SCALE, weight.numel(), BLOCK_SIZE).view(weight.shape)

    def _largest(self) -> Float[Tensor, " blocks"]:
        """The largest absolute value of each block."""
        if self.absmax_scale is None or self.absmax_offset is None:
            return self.absmax
        found = self._absmax_levels.index_select(0, self.absmax.int())
        return (
            found * _spread(self.absmax_scale, len(found), NESTED_BLOCK_SIZE) + self.absmax_offset
        )


def dynamic_levels() -> Float[Tensor, " 256"]:
    """The numbers of the 8-bit dynamic type: the more digits, the nearer to 1 a number is.

    For each of seven decades below 1 the middles of 1, 2, 4, … 64 equal parts of it, with both
    signs; besides them 0 and 1.
    """
    levels = [torch.tensor([0.0, 1.0], dtype=torch.float64)]
    for i in range(EXPONENTS):
        ends = torch.linspace(0.1, 1, 2**i + 1, dtype=torch.float64)
        middles = (ends[:-1] + ends[1:]) / 2 * 10.0 ** (i - EXPONENTS + 1)
        levels += [middles, -middles]
    return torch.cat(levels).sort().values.float()


def _quantize_absmax(absmax: Float[Tensor, " blocks"]) -> dict[str, Tensor]:
    """The blocks' largest values as 8-bit codes."""
    offset = absmax.double().mean().float()  # the sum of very large ones would overflow float32
    nested = in_groups(absmax - offset, NESTED_BLOCK_SIZE)
    scale = nested.abs().amax(dim=1)
    codes = _nearest(_in_units_of(scale, nested), dynamic_levels()).flatten()[: len(absmax)]
    state = {"absmax_scale": scale, "absmax_offset": offset}
    return {**state, "absmax": codes.to(torch.uint8)}


def _spread(x: Float[Tensor, " blocks"], count: int, size: int) -> Float[Tensor, " count"]:
    """For each of the entries the number of its block."""
    return x.repeat_interleave(size)[:count]


def _in_units_of(
    largest: Float[Tensor, " blocks"], blocks: Float[Tensor, "blocks size"]
) -> Float[Tensor, "blocks size"]:
    """Blocks divided by their largest absolute value; zeros where that is zero."""
    return blocks / torch.where(largest > 0, largest, 1.0)[:, None]


def _nearest(x: Float[Tensor, ...], levels: Float[Tensor, " n"]) -> UInt8[Tensor, ...]:
    """The index of the level that is nearest to each number."""
    return torch.bucketize(x, (levels[1:] + levels[:-1]) / 2, out_int32=True)
