"""Weight-only int8: weights as int8 per output channel, arithmetic in the activations' own type.

Jacob et al., arXiv:1712.05877, section 2.1, with weights symmetric per channel (Krishnamoorthi,
arXiv:1806.08342, section 3.1); as in LLM deployments (Frantar et al., "GPTQ", arXiv:2210.17323)
activations are not quantised. Norms and biases stay float32, and so do embeddings unless asked.

It saves bytes and no time: the codes are made float again in every call.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int8
from torch import Tensor
from torch.nn import functional

from compress.blocks import Linear, shape_of, weight_matrix
from compress.quantizer.linears import LinearFormat, QuantizedLinear
from compress.quantizer.packing import quantize_per_channel


@dataclass(frozen=True, kw_only=True)
class Int8WeightOnly(LinearFormat):
    """Stores the weight of every Linear as int8."""

    def quantized(self, linear: Linear) -> Int8WeightOnlyLinear:
        """The weight-only int8 version of a Linear."""
        return Int8WeightOnlyLinear.of(linear)


class Int8WeightOnlyLinear(QuantizedLinear):
    """A Linear with int8 weights and one scale per output channel."""

    def __init__(self, in_features: int, out_features: int, bias: bool) -> None:
        """An empty layer."""
        super().__init__(in_features, out_features, bias)
        self.weight: Tensor
        self.scale: Tensor
        self.register_buffer("weight", torch.zeros(out_features, in_features, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(out_features))

    @classmethod
    def of(cls, linear: Linear) -> Int8WeightOnlyLinear:
        """The int8 version of a float Linear."""
        out_features, in_features = shape_of(linear)
        made = cls(in_features, out_features, linear.bias is not None)
        weight, scale = quantize_per_channel(weight_matrix(linear).detach().float())
        made.fill_(linear, {"weight": weight, "scale": scale})
        return made

    def codes(self) -> Int8[Tensor, "out in"]:
        """The int8 codes."""
        return self.weight

    def forward(self, x: Float[Tensor, "... in"]) -> Float[Tensor, "... out"]:
        """X · Qᵀ · s + b: a channel's scale is taken out of its sum, which is cheaper."""
        result = functional.linear(x, self.weight.to(x.dtype)) * self.scale.to(x.dtype)
        return result if self.bias is None else result + self.bias.to(x.dtype)
