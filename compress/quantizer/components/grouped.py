"""Weights as codes of a few bits in groups, arithmetic in the activations' own type.

`compress.transformer.packing.Grid` has the grids. Besides its codes a group takes 16 bits for its
scale and, if asymmetric, a code for its zero point: 4.31 bits per weight with 4 bits in groups of
64. Norms and biases stay float32, and so do embeddings unless asked.

It saves bytes and no time: the codes are unpacked and dequantized in every call. torch has kernels
for packed int4, but only for some shapes, and with a layout of its own for each processor.
"""

from __future__ import annotations

from abc import ABC
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import torch
from jaxtyping import Float, Int, Shaped, UInt8
from pydantic.dataclasses import dataclass
from torch import Tensor

from compress.config.fields import PositiveInt
from compress.quantizer.components.linears import LinearFormat, QuantizedLinear
from compress.transformer.bit_packing import pack_codes, packed_size, unpack_codes
from compress.transformer.blocks import Linear, block_linears, every_linear, weight_matrix
from compress.transformer.packing import (
    FLOAT32_SLACK,
    Grid,
    center_groups,
    dequantize_groups,
    group_bound,
    group_count,
    in_groups,
    quantize_groups,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Zero points: none on symmetric grids, codes, or bfloat16 numbers.
NO_ZEROS, CODES, REAL = "none", "codes", "real"


@dataclass(frozen=True, kw_only=True)
class GroupedWeights(LinearFormat, ABC):
    """Stores the weight of every Linear as codes in groups.

    Attributes:
        bits: of a code.
        group_size: number of consecutive weights of a row that share a scale. The last group of a
            row may be shorter; in OpenVINO all groups of such a layer are.
        output_bits: of a code in Linear layers outside the model's layers, such as a classifier or
            an output layer with a weight of its own; null for `bits`.
    """

    symmetric_grid: ClassVar[bool] = False

    bits: Literal[2, 3, 4, 8]
    group_size: PositiveInt
    output_bits: Literal[2, 3, 4, 8] | None

    @property
    def weight_bits(self) -> int:  # type: ignore[override]
        """The bits of a code, where they are fewest."""
        return min(self.bits, self.output_bits or self.bits)

    @property
    def grid(self) -> Grid:
        """The grid of each group."""
        return Grid(self.bits, self.group_size, self.symmetric_grid)

    def quantized(self, linear: Linear) -> GroupedLinear:
        """The Linear with each weight rounded to nearest."""
        return GroupedLinear.rounded(linear, self.grid)

    def formats(self, module: PreTrainedModel) -> dict[str, Self]:
        """This one, with `output_bits` outside the model's layers."""
        outside, inside = replace(self, bits=self.output_bits or self.bits), block_linears(module)
        return {n: self if n in inside else outside for n, _ in every_linear(module)}


class GroupedLinear(QuantizedLinear):
    """A Linear with packed codes."""

    kind = "grouped_linear"

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool,
        bits: int,
        group_size: int,
        zeros: str,
        scaled: bool = False,
    ) -> None:
        """An empty layer.

        Args:
            in_features: columns of the weight.
            out_features: rows of the weight.
            bias: whether there is one.
            bits: of a code.
            group_size: consecutive weights of a row that share a scale.
            zeros: what zero points are: "none", "codes" or "real".
            scaled: whether the codes are of the weight times a number for each column.
        """
        super().__init__(in_features, out_features, bias)
        self.bits, self.group_size, self.zeros = bits, group_size, zeros  # type: ignore[misc]
        self.qweight: Tensor
        self.scale: Tensor
        self.zero: Tensor | None
        self.columns: Tensor | None
        groups = group_count(in_features, group_size)
        made = {
            NO_ZEROS: None,
            CODES: torch.zeros(out_features, packed_size(groups, bits), dtype=torch.uint8),
            REAL: torch.zeros(out_features, groups, dtype=torch.bfloat16),
        }
        packed = torch.zeros(out_features, packed_size(in_features, bits), dtype=torch.uint8)
        self.register_buffer("qweight", packed)
        self.register_buffer("scale", torch.ones(out_features, groups, dtype=torch.bfloat16))
        self.register_buffer("zero", made[zeros])
        columns = torch.ones(in_features, dtype=torch.bfloat16) if scaled else None
        self.register_buffer("columns", columns)

    @classmethod
    def rounded(cls, linear: Linear, grid: Grid) -> GroupedLinear:
        """A Linear rounded to nearest."""
        return cls.of(linear, grid.bits, grid.group_size, NO_ZEROS if grid.symmetric else CODES)

    @classmethod
    def of_codes(
        cls,
        linear: Linear,
        grid: Grid,
        codes: Int[Tensor, "out in"],
        scale: Float[Tensor, "out groups"],
        zero: Shaped[Tensor, "out groups"],
        columns: Float[Tensor, " in"] | None = None,
    ) -> GroupedLinear:
        """A Linear with codes that were chosen otherwise.

        Args:
            linear: with the bias.
            grid: of the codes.
            codes: of the weight, or of the weight times `columns`.
            scale: of each group, in bfloat16.
            zero: the zero points; real numbers are kept as bfloat16.
            columns: what each column was multiplied by, in bfloat16.
        """
        real = zero.is_floating_point()
        zeros = REAL if real else NO_ZEROS if grid.symmetric else CODES
        out_features, in_features = codes.shape
        settings = (grid.bits, grid.group_size, zeros, columns is not None)
        layer = cls(in_features, out_features, linear.bias is not None, *settings)
        state = {"qweight": pack_codes(codes.to(torch.uint8), grid.bits), "scale": scale}
        if zeros != NO_ZEROS:
            state["zero"] = zero if real else pack_codes(zero.to(torch.uint8), grid.bits)
        if columns is not None:
            state["columns"] = columns
        if linear.bias is not None:
            state["bias"] = linear.bias.detach().float()
        layer.load_state_dict(state)
        return layer

    def encoded(self, weight: Float[Tensor, "out in"]) -> dict[str, Tensor]:
        """Packed codes, scales and zero points, rounded to nearest."""
        symmetric = self.zeros == NO_ZEROS
        codes, scale, zero = quantize_groups(
            weight, self.group_size, symmetric=symmetric, bits=self._bits
        )
        zeros = {} if symmetric else {"zero": pack_codes(zero, self._bits)}
        return {"qweight": pack_codes(codes, self._bits), "scale": scale, **zeros}

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments."""
        grid = {"bits": self._bits, "group_size": self.group_size, "zeros": self.zeros}
        return {**super().arguments(), **grid, "scaled": self.columns is not None}

    def codes(self) -> Int[Tensor, "out in"]:
        """The codes, counted from their zero points; of real ones from the nearest code."""
        zero = self.zero_points()
        if not isinstance(zero, int):
            zero = zero.round().to(torch.uint8)
        return center_groups(self.stored_codes(), zero, self.group_size, self._bits)

    def matrix(self) -> Float[Tensor, "out in"]:
        """(q − z) · s, over what the columns were multiplied by."""
        zero, sizes = self.zero_points(), (self.group_size, self.in_features, self._bits)
        found = dequantize_groups(self.qweight, self.scale, zero, *sizes)
        return found if self.columns is None else found / self.columns.float()

    def error_bound(self, weight: Float[Tensor, "out in"]) -> Float[Tensor, "out in"]:
        """Of weights rounded to nearest alone: see `group_bound`.

        With real zero points half a step of its own scale, or what its own grid cuts off.
        """
        if self.zeros == REAL:
            return self._own_bound(weight)
        symmetric = self.zeros == NO_ZEROS
        return group_bound(weight, self.group_size, symmetric=symmetric, bits=self._bits)

    def stored_codes(self) -> UInt8[Tensor, "out in"]:
        """The codes as they are stored, counted from 0."""
        return unpack_codes(self.qweight, self.in_features, self._bits)

    def zero_points(self) -> Shaped[Tensor, "out groups"] | int:
        """The zero points of groups: codes, real numbers, or the middle code of symmetric grids."""
        if self.zero is None:
            return int(2 ** (self._bits - 1))
        if self.zeros == REAL:
            return self.zero.float()
        return unpack_codes(self.zero, self.scale.shape[1], self._bits)

    def _own_bound(self, weight: Float[Tensor, "out in"]) -> Float[Tensor, "out in"]:
        grouped, step = in_groups(weight, self.group_size), self.scale.float()[..., None]
        zero, largest = self.zero_points()[..., None], 2**self._bits - 1  # type: ignore[index]
        outside = torch.maximum(-zero * step - grouped, grouped - (largest - zero) * step)
        slack = (2 * largest + zero.abs()) * step * FLOAT32_SLACK
        bound: Tensor = torch.maximum(outside, step / 2) + slack
        return bound.flatten(-2)[..., : weight.shape[-1]]

    @property
    def _bits(self) -> int:
        assert self.bits is not None, "every layer has its own"
        return self.bits


def float_weight(linear: Linear) -> Float[Tensor, "out in"]:
    """The weight of a Linear, in float32, as a new tensor."""
    return weight_matrix(linear).detach().to(torch.float32, copy=True)
