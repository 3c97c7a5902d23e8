"""NF4: weights as 4-bit codes for the quantiles of a normal distribution, by bitsandbytes.

Dettmers et al., "QLoRA", arXiv:2305.14314, section 3: blocks of 64 weights share a largest absolute
value, each weight becomes the nearest of 16 levels in units of it, one of them zero. With double
quantisation the largest values are themselves 8-bit codes in blocks of 256. Here for deployment,
not for training: there are no adapters. Deviations: a row with an odd number of weights is filled
up with one zero, since bitsandbytes' CPU kernel unpacks whole bytes; the weights are made float
again in every call and multiplied by torch, since bitsandbytes' own CPU product refuses some
shapes, such as a classifier's. So it saves bytes and no time. Norms and biases stay float32, and
so do embeddings unless asked.
"""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int8
from torch import Tensor
from torch.nn import functional

from compress.blocks import Linear, shape_of, weight_matrix
from compress.quantizer.linears import LinearFormat, QuantizedLinear
from compress.quantizer.packing import unpack_codes
from compress.settings import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BLOCK_SIZE = 64
NESTED_BLOCK_SIZE = 256  # fixed by bitsandbytes
ZERO_CODE = 7


@dataclass(frozen=True, kw_only=True)
class Nf4(LinearFormat):
    """Stores the weight of every Linear as NF4.

    Attributes:
        double_quantization: whether the blocks' largest values are quantised too: 4.13 bits per
            weight instead of 4.5.
    """

    weight_bits = 4
    compiles = False

    double_quantization: bool

    def check(self, skeleton: PreTrainedModel) -> None:
        """Refuses what all formats refuse, and to go without bitsandbytes."""
        super().check(skeleton)
        require_bitsandbytes()

    def quantized(self, linear: Linear) -> Nf4Linear:
        """The NF4 version of a Linear."""
        return Nf4Linear.of(linear, self.double_quantization)


class Nf4Linear(QuantizedLinear):
    """A Linear with packed NF4 weights: the parts of bitsandbytes' state as plain tensors."""

    bits = 4

    def __init__(
        self, in_features: int, out_features: int, bias: bool, double_quantization: bool
    ) -> None:
        """An empty layer."""
        super().__init__(in_features, out_features, bias)
        self.weight: Tensor
        self.absmax: Tensor
        self.absmax_scale: Tensor | None
        self.absmax_offset: Tensor | None
        self.absmax_levels: Tensor | None
        # Blocks run on from row to row, as bitsandbytes has them.
        entries = out_features * (in_features + in_features % 2)
        blocks = -(-entries // BLOCK_SIZE)
        nested = -(-blocks // NESTED_BLOCK_SIZE) if double_quantization else None
        absmax = torch.zeros(blocks, dtype=torch.float32 if nested is None else torch.uint8)
        levels = None if nested is None else _bitsandbytes().create_dynamic_map()
        self.register_buffer("weight", torch.zeros(entries // 2, 1, dtype=torch.uint8))
        self.register_buffer("absmax", absmax)
        self.register_buffer("absmax_scale", None if nested is None else torch.zeros(nested))
        self.register_buffer("absmax_offset", None if nested is None else torch.zeros(()))
        # The same for every layer, so not on disk; a buffer, so that it moves to the device.
        self.register_buffer("absmax_levels", levels, persistent=False)

    @classmethod
    def of(cls, linear: Linear, double_quantization: bool) -> Nf4Linear:
        """The NF4 version of a float Linear."""
        out_features, in_features = shape_of(linear)
        made = cls(in_features, out_features, linear.bias is not None, double_quantization)
        # On the CPU whatever the device: the same codes everywhere, and zeros there stay zeros
        # in a block that has nothing else, where other kernels divide by its largest value.
        weight = weight_matrix(linear).detach().float().cpu()
        packed, found = _bitsandbytes().quantize_4bit(
            functional.pad(weight, (0, in_features % 2)),
            blocksize=BLOCK_SIZE,
            compress_statistics=double_quantization,
            quant_type="nf4",
        )
        state = {"weight": packed, "absmax": found.absmax}
        if double_quantization:
            state |= {"absmax_scale": found.state2.absmax, "absmax_offset": found.offset}
        made.fill_(linear, state)
        return made

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments."""
        nested = {"double_quantization": self.absmax_scale is not None}
        return {**super().arguments(), **nested}

    def codes(self) -> Int8[Tensor, "out in"]:
        """The indices of the levels, counted from that of zero."""
        codes = unpack_codes(self.weight.view(self.out_features, -1), self.in_features)
        return codes.to(torch.int8) - ZERO_CODE

    def matrix(self, dtype: torch.dtype) -> Float[Tensor, "out in"]:
        """The weights made float again."""
        bitsandbytes, nested = _bitsandbytes(), None
        if self.absmax_scale is not None:
            nested = bitsandbytes.QuantState(
                absmax=self.absmax_scale,
                code=self.absmax_levels,
                blocksize=NESTED_BLOCK_SIZE,
                dtype=torch.float32,
            )
        shape = (self.out_features, self.in_features + self.in_features % 2)
        state = bitsandbytes.QuantState(
            absmax=self.absmax,
            shape=torch.Size(shape),
            dtype=dtype,
            blocksize=BLOCK_SIZE,
            quant_type="nf4",
            offset=self.absmax_offset,
            state2=nested,
        )
        # bitsandbytes hands a weight of a single byte back transposed.
        weight: Tensor = bitsandbytes.dequantize_4bit(self.weight, state).reshape(shape)
        return weight[:, : self.in_features]

    def forward(self, x: Float[Tensor, "... in"]) -> Float[Tensor, "... out"]:
        """X · Wᵀ + b with W made anew."""
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return functional.linear(x, self.matrix(x.dtype), bias)


def require_bitsandbytes() -> None:
    """Checks that bitsandbytes is installed, without importing it: that takes seconds.

    Raises:
        UserError: it is not.
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError("quantizer=nf4 needs the package bitsandbytes; pip install 'compress[nf4]'")


def _bitsandbytes() -> Any:
    """bitsandbytes.functional, imported when it is first needed."""
    require_bitsandbytes()
    # It warns of a kernel for products that it did not download; we do not use that kernel.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    import bitsandbytes.functional

    return bitsandbytes.functional
