"""Weight-only int8: weights as int8 per output channel, arithmetic in the activations' own type.

Jacob et al., arXiv:1712.05877, section 2.1, with weights symmetric per channel (Krishnamoorthi,
arXiv:1806.08342, section 3.1); as in LLM deployments (Frantar et al., "GPTQ", arXiv:2210.17323)
activations are not quantized. Norms and biases stay float32, and so do embeddings unless asked.

It saves bytes and no time: the codes are converted to float in every call.
"""

from __future__ import annotations

from jaxtyping import Float
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional

from compress.quantizer.components.linears import Int8Linear, LinearFormat
from compress.transformer.blocks import Linear


@dataclass(frozen=True, kw_only=True)
class Int8WeightOnly(LinearFormat):
    """Stores the weight of every Linear as int8."""

    version = 2
    weight_bits = 8

    def quantized(self, linear: Linear) -> Int8WeightOnlyLinear:
        """The weight-only int8 version of a Linear."""
        return Int8WeightOnlyLinear.of(linear)


class Int8WeightOnlyLinear(Int8Linear):
    """A Linear with int8 weights that computes in the type of what it reads."""

    kind = "int8_weight_only_linear"

    def forward(self, x: Float[Tensor, "... in"]) -> Float[Tensor, "... out"]:
        """X · Qᵀ · s + b: a channel's scale is taken out of its sum, which is cheaper."""
        result = functional.linear(x, self.qweight.to(x.dtype)) * self.scale.to(x.dtype)
        return result if self.bias is None else result + self.bias.to(x.dtype)
