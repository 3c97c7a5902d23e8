"""Weight-only int4: weights as 4-bit integers in groups, arithmetic in the activations' own type.

Round to nearest, the baseline of Frantar et al., "GPTQ", arXiv:2210.17323; see
`compress.transformer.packing` for the formula and what deviates. Two codes share a byte, on disk
and in memory. Besides its codes a group takes 16 bits for its scale and, if asymmetric, 4 for its
zero point: 4.31 bits per weight in groups of 64. Norms and biases stay float32, and so do
embeddings unless asked.

It saves bytes and no time: the codes are unpacked and dequantized in every call. torch has
kernels for packed int4, but only for some shapes, and with a layout of its own for each processor.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int8, UInt8
from pydantic.dataclasses import dataclass
from torch import Tensor

from compress.config.fields import PositiveInt
from compress.quantizer.components.linears import LinearFormat, QuantizedLinear
from compress.transformer.blocks import Linear
from compress.transformer.packing import (
    SYMMETRIC_ZERO,
    center_groups,
    dequantize_groups,
    group_bound,
    group_count,
    pack_codes,
    packed_size,
    quantize_groups,
    unpack_codes,
)


@dataclass(frozen=True, kw_only=True)
class Int4WeightOnly(LinearFormat):
    """Stores the weight of every Linear as int4.

    Attributes:
        group_size: number of consecutive weights of a row that share a scale. The last group of a
            row may be shorter; in OpenVINO all groups of such a layer are.
        symmetric: whether codes are -8..7 times a signed scale of least squared error; else each
            group has a zero point.
    """

    version = 2
    weight_bits = 4

    group_size: PositiveInt
    symmetric: bool

    def quantized(self, linear: Linear) -> Int4WeightOnlyLinear:
        """The weight-only int4 version of a Linear."""
        return Int4WeightOnlyLinear.of(linear, self.group_size, self.symmetric)


class Int4WeightOnlyLinear(QuantizedLinear):
    """A Linear with packed int4 weights."""

    kind = "int4_weight_only_linear"
    bits = 4

    def __init__(
        self, in_features: int, out_features: int, bias: bool, group_size: int, symmetric: bool
    ) -> None:
        """An empty layer."""
        super().__init__(in_features, out_features, bias)
        self.group_size = group_size
        self.qweight: Tensor
        self.scale: Tensor
        self.zero: Tensor | None
        groups = group_count(in_features, group_size)
        packed = torch.zeros(out_features, packed_size(in_features), dtype=torch.uint8)
        zero = torch.zeros(out_features, packed_size(groups), dtype=torch.uint8)
        self.register_buffer("qweight", packed)
        self.register_buffer("scale", torch.ones(out_features, groups, dtype=torch.bfloat16))
        self.register_buffer("zero", None if symmetric else zero)

    def encoded(self, weight: Float[Tensor, "out in"]) -> dict[str, Tensor]:
        """Packed codes, scales and, if asymmetric, zero points."""
        symmetric = self.zero is None
        codes, scale, zero = quantize_groups(weight, self.group_size, symmetric=symmetric)
        zeros = {} if symmetric else {"zero": pack_codes(zero)}
        return {"qweight": pack_codes(codes), "scale": scale, **zeros}

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments."""
        grid = {"group_size": self.group_size, "symmetric": self.zero is None}
        return {**super().arguments(), **grid}

    def codes(self) -> Int8[Tensor, "out in"]:
        """The codes, counted from their zero points."""
        stored = unpack_codes(self.qweight, self.in_features)
        return center_groups(stored, self._zero_points(), self.group_size)

    def matrix(self) -> Float[Tensor, "out in"]:
        """(q − z) · s."""
        return dequantize_groups(
            self.qweight, self.scale, self._zero_points(), self.group_size, self.in_features
        )

    def error_bound(self, weight: Float[Tensor, "out in"]) -> Float[Tensor, "out in"]:
        """See `group_bound`."""
        return group_bound(weight, self.group_size, symmetric=self.zero is None)

    def _zero_points(self) -> UInt8[Tensor, "out groups"] | int:
        if self.zero is None:
            return SYMMETRIC_ZERO
        return unpack_codes(self.zero, self.scale.shape[1])
