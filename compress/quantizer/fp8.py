"""fp8: Linear weights and what they read as 8-bit floats, everything else as bfloat16.

Micikevicius et al., "FP8 Formats for Deep Learning", arXiv:2209.05433, section 3: E4M3, 4 bits of
exponent and 3 of fraction, up to 448. Weights have one scale per output channel, activations one
per token, as in "vector-wise" int8 (Dettmers et al., "LLM.int8()", arXiv:2208.07339, section 2.1):
a token's product depends on nothing else in the batch. Sums are float32.

NVIDIA GPUs from compute capability 8.9 on multiply it twice as fast as bfloat16. The operators
around a product take more time than they save unless they are fused: use
`device.runtime.compile=true`. CPUs have no such arithmetic: they compute the same numbers slowly.
Deviation: a Linear whose sizes are not multiples of 16, such as a classifier of two classes, stays
bfloat16, since the GPUs' kernels do not take it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int8
from pydantic.dataclasses import dataclass
from torch import Tensor

from compress.config.errors import ConfigError, UserError
from compress.interfaces import Quantizer
from compress.quantizer.components.linears import QuantizedLinear
from compress.quantizer.components.torch_format import TorchFormat
from compress.transformer.blocks import Linear, every_linear, shape_of, weight_matrix
from compress.transformer.packing import FLOAT32_SLACK, SMALLEST_SCALE
from compress.transformer.rounding import cast_, check_quantized, half_ulp
from compress.transformer.stacks import check_all_linear
from compress.transformer.stored_modules import LazyWeight
from compress.transformer.surgery import replace_linear_

if TYPE_CHECKING:
    from transformers import PreTrainedModel

E4M3 = torch.float8_e4m3fn
LARGEST = torch.finfo(E4M3).max
MULTIPLE = 16  # of both sizes of a matrix, for the GPUs' kernels
CAPABILITY = (8, 9)  # of the first GPUs with fp8 arithmetic
NEGATIVE_ZERO = -128  # its byte


@dataclass(frozen=True, kw_only=True)
class Fp8(Quantizer, TorchFormat):
    """Rounds Linear weights and their inputs to FP8 (E4M3), and everything else to bfloat16."""

    weight_bits = 8

    def check(self, skeleton: PreTrainedModel) -> None:
        """Raises a ConfigError unless all layers are Linear and the kernels take some."""
        check_all_linear(skeleton, "quantizer Fp8")
        if not any(True for _ in _fitting(skeleton)):
            raise ConfigError(
                f"quantizer Fp8 needs Linear layers whose sizes are multiples of {MULTIPLE}, and "
                "this model has none; use quantizer=bf16"
            )

    def check_torch(self, torch_device: str) -> None:
        """Raises a UserError if the GPU has no fp8 arithmetic."""
        if torch_device == "cuda" and torch.cuda.get_device_capability() < CAPABILITY:
            found = ".".join(map(str, torch.cuda.get_device_capability()))
            raise UserError(
                "quantizer=fp8 needs a GPU of compute capability 8.9 or later, got "
                f"{torch.cuda.get_device_name()} with {found}; use quantizer=bf16"
            )

    def table_bits(self) -> int:
        """The bits of the embeddings."""
        return 16

    def quantize_torch_(self, module: PreTrainedModel) -> None:
        """Replaces each Linear and casts the rest; a UserError where bfloat16's range ends."""
        replaced = []
        for name, linear in list(_fitting(module)):
            weight = weight_matrix(linear).detach().float()
            layer = Fp8Linear.of(linear).to(linear.weight.device)
            check_quantized(name, layer, weight)
            replaced.append((name, linear, layer))
        cast_(module, "fp8", torch.bfloat16, "none")
        for name, linear, layer in replaced:
            replace_linear_(module, name, linear, layer)


class Fp8Linear(QuantizedLinear):
    """A Linear with E4M3 weights that rounds what it reads to E4M3 as well."""

    kind = "fp8_linear"
    arithmetic = "float8_e4m3fn"
    bits = 8

    def __init__(self, in_features: int, out_features: int, bias: bool) -> None:
        """An empty layer."""
        super().__init__(in_features, out_features, bias)
        self.qweight: Tensor
        self.scale: Tensor
        self.register_buffer("qweight", torch.zeros(out_features, in_features, dtype=E4M3))
        self.register_buffer("scale", torch.ones(1, out_features))

    def encoded(self, weight: Float[Tensor, "out in"]) -> dict[str, Tensor]:
        """Codes without negative zeros, and scales."""
        codes, scale = quantize_rows(weight)
        bits = codes.view(torch.int8)
        codes = bits.masked_fill(bits == NEGATIVE_ZERO, 0).view(E4M3)
        return {"qweight": codes, "scale": scale.T}

    def codes(self) -> Int8[Tensor, "out in"]:
        """The bytes of the weights; all bits are zero where a weight is."""
        return self.qweight.view(torch.int8)

    def matrix(self) -> Float[Tensor, "out in"]:
        """Q · s."""
        return self.qweight.float() * self.scale.T

    def error_bound(self, weight: Float[Tensor, "out in"]) -> Float[Tensor, "out in"]:
        """Half a unit in the last place, of weights in units of their channel's scale."""
        scale = _scale_of(weight)
        return half_ulp(weight / scale, E4M3) * scale + weight.abs() * FLOAT32_SLACK

    @property
    def weight(self) -> LazyWeight:
        """The weight as `matrix` has it, in the type of the model's other weights."""
        shape, device = self.plain_shape(), self.qweight.device
        return LazyWeight(shape, torch.bfloat16, device, lambda: self.matrix().bfloat16())

    def forward(self, x: Float[Tensor, "... in"]) -> Float[Tensor, "... out"]:
        """X · Wᵀ + b of 8-bit floats."""
        codes, scale = quantize_rows(x.reshape(-1, self.in_features))
        product: Tensor = torch._scaled_mm(
            codes,
            self.qweight.T,
            scale_a=scale,
            scale_b=self.scale,
            bias=None if self.bias is None else self.bias.bfloat16(),
            out_dtype=torch.bfloat16,
            use_fast_accum=True,
        )
        return product.view(*x.shape[:-1], self.out_features).to(x.dtype)


def quantize_rows(x: Float[Tensor, "rows n"]) -> tuple[Tensor, Float[Tensor, "rows 1"]]:
    """E4M3 codes [rows, n], and the scale that takes each row's largest value to 448."""
    scale = _scale_of(x)
    return (x.float() / scale).to(E4M3), scale


def _scale_of(x: Float[Tensor, "rows n"]) -> Float[Tensor, "rows 1"]:
    largest = x.abs().amax(dim=1, keepdim=True).float()
    return (largest / LARGEST).clamp_min(SMALLEST_SCALE)


def _fitting(module: PreTrainedModel) -> Iterator[tuple[str, Linear]]:
    """The Linear layers that the kernels take, by name."""
    for name, linear in every_linear(module):
        if not any(size % MULTIPLE for size in shape_of(linear)):
            yield name, linear
