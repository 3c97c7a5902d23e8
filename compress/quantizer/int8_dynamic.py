"""Dynamic int8: weights as int8 per output channel, activations quantized as they come.

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", arXiv:1712.05877, section 2.1, with weights symmetric per channel (Krishnamoorthi,
arXiv:1806.08342, section 3.1) and, in torch, activations symmetric with one scale per token (Yao et
al., "ZeroQuant", arXiv:2206.01861, section 4; "vector-wise" in Dettmers et al., "LLM.int8()",
arXiv:2208.07339, section 2.1). A token's product so depends on nothing else in the batch. In ONNX
Runtime there is one scale for all activations of a call. Deviation: norms and biases stay float32,
embeddings too unless asked, and so does the arithmetic between the Linear layers.

torch's own dynamic kernel has one scale for all activations of a call and 7 bits. That ruins
language models, where a few activations are a thousand times the others, so it is not used; whole
models take 1.07 to 1.22 times as long as with it (docs/int8_activations.md).
"""

from __future__ import annotations

import functools
import platform
import warnings
from typing import Any

import torch
from jaxtyping import Float, Int8
from pydantic.dataclasses import dataclass
from torch import Tensor

from compress.config.errors import UserError
from compress.quantizer.components.linears import Int8Linear, LinearFormat
from compress.transformer.blocks import Linear
from compress.transformer.packing import INT8_MAX


@dataclass(frozen=True, kw_only=True)
class Int8Dynamic(LinearFormat):
    """Rounds Linear weights and their inputs to int8.

    In torch, activations have 8 bits on processors with VNNI and 7 on others.
    """

    version = 3
    weight_bits = 8
    torch_devices = ("cpu",)
    compiles = False

    def quantized(self, linear: Linear) -> Int8DynamicLinear:
        """The dynamic int8 version of a Linear."""
        return Int8DynamicLinear.of(linear)

    def check_torch(self, torch_device: str) -> None:
        """Raises a UserError if torch has no int8 kernels for this processor."""
        check_kernels()


class Int8DynamicLinear(Int8Linear):
    """A Linear with int8 weights that rounds what it reads to int8 as well."""

    kind = "int8_dynamic_linear"
    arithmetic = "int8"

    def __init__(
        self, in_features: int, out_features: int, bias: bool, smoothed: bool = False
    ) -> None:
        """An empty layer; `smoothed` if it divides what it reads by a number for each column."""
        super().__init__(in_features, out_features, bias)
        self.columns: Tensor | None
        self.register_buffer("columns", torch.ones(in_features) if smoothed else None)
        self._packed: Any = None

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().arguments(), "smoothed": self.columns is not None}

    def matrix(self) -> Float[Tensor, "out in"]:
        """Q · s, over what the columns were multiplied by."""
        found = super().matrix()
        return found if self.columns is None else found / self.columns

    def forward(self, x: Float[Tensor, "... in"]) -> Float[Tensor, "... out"]:
        """X · Wᵀ + b with int8 arithmetic and an int32 accumulator.

        Each token is divided by its largest absolute value, so that one fixed scale serves all.
        """
        if self._packed is None:
            self._packed = prepack(self.qweight, self.scale)
        x = x.detach()  # what is computed in place below would not go with gradients
        if self.columns is not None:
            x = x / self.columns
        scaled = x.abs()
        largest = scaled.amax(dim=-1, keepdim=True)
        # A token of zeros gives 0 / 0 here, of which the kernel makes some code, and its sum times
        # the largest value is 0 again. Infinity and NaN come out as infinity or NaN.
        torch.div(x, largest, out=scaled)
        product = _multiply(scaled, self._packed, activation_max())
        if self.bias is None:
            return product.mul_(largest)
        return torch.addcmul(self.bias, product, largest, out=product)

    def __deepcopy__(self, memo: dict[int, Any]) -> Int8DynamicLinear:
        """A copy that packs its weights anew: the packed form cannot be copied."""
        copied = Int8DynamicLinear(**self.arguments())
        copied.load_state_dict(self.state_dict())
        return copied


@functools.cache
def activation_max() -> int:
    """The largest code of an activation on this processor: 127 (8 bits) or 63 (7 bits).

    Without VNNI the kernel adds products in pairs as 16-bit integers, which cannot hold those of
    8-bit activations; the sums come out far too small. So it is tried with the largest there are.
    """
    count = 32
    weight = torch.full((1, count), INT8_MAX, dtype=torch.int8)
    total = _multiply(torch.ones(1, count), prepack(weight, torch.ones(1)), INT8_MAX)
    return INT8_MAX if round(float(total)) == count * INT8_MAX else INT8_MAX // 2


def check_kernels() -> None:
    """Raises a UserError without fbgemm, torch's int8 kernels for x86 with AVX2."""
    if "fbgemm" not in supported_engines():
        raise UserError(
            "int8 activations in the torch runtime need an x86 processor with AVX2, this one is "
            f"{platform.machine()} without it; use quantizer=int8_weight_only"
        )


def supported_engines() -> list[str]:
    """The int8 kernels that torch has on this processor, by its names for them."""
    engines: list[str] = torch.backends.quantized.supported_engines
    return engines


def _multiply(
    x: Float[Tensor, "... in"], packed: Any, largest_code: int
) -> Float[Tensor, "... out"]:
    """X · Wᵀ of activations in [-1, 1], which are rounded to whole 1 / `largest_code`."""
    product: Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32.default(
        x, 1 / largest_code, largest_code + 1, packed
    )
    return product


def prepack(
    weight: Int8[Tensor, "out in"],
    scale: Float[Tensor, " out"],
    bias: Float[Tensor, " out"] | None = None,
) -> Any:
    """The weights, and a bias where nothing is scaled afterwards, as the int8 kernels want them.

    torch 2.13 deprecates qint8 tensors, but offers no other way into its CPU int8 kernels that is
    as fast for few tokens: oneDNN's take 50 µs longer to begin, and torchao's were slower on the
    CPUs measured. All use of them is in this function and in `_multiply`.
    """
    check_kernels()
    zero_points = torch.zeros(len(scale), dtype=torch.long)
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=".*quantized tensor creation", category=UserWarning
        )
        tensor = torch._make_per_channel_quantized_tensor(weight, scale.double(), zero_points, 0)
        return torch.ops.quantized.linear_prepack(tensor, bias)
