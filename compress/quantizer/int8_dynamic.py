"""Dynamic int8: weights as int8 per output channel, activations quantised as they come.

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", arXiv:1712.05877, section 2.1, with weights symmetric per channel (Krishnamoorthi,
arXiv:1806.08342, section 3.1) and one scale per activation tensor and call. Deviation: norms and
biases stay float32, embeddings too unless asked, and so does the arithmetic between the Linear
layers.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from compress.blocks import Linear
from compress.interfaces import CompressedModel, Device, StageContext
from compress.onnx_quantize import quantize_dynamically, quantize_tables
from compress.quantizer.linears import Int8Linear, LinearFormat
from compress.runtime.onnxruntime import OnnxFormat
from compress.settings import ConfigError

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, kw_only=True)
class Int8Dynamic(LinearFormat, OnnxFormat):
    """Makes every Linear int8, and the activations that it reads."""

    weight_bits = 8
    torch_devices = ("cpu",)
    compiles = False
    # Single logits of 853 rows on a fine-tuned MiniLM-L6 are off by at most 0.22, and by 0.25 with
    # int8 tables.
    onnx_tolerance = 0.5
    onnx_precision = "int8"

    def quantized(self, linear: Linear) -> Int8DynamicLinear:
        """The dynamic int8 version of a Linear."""
        return Int8DynamicLinear.of(linear)

    def check_onnx(self, device: Device) -> None:
        """Refuses int4 tables, for which ONNX Runtime has no lookup that leaves them packed.

        Raises:
            ConfigError: they are asked for.
        """
        if self.embeddings == "int4":
            raise ConfigError(
                "quantizer.embeddings=int4 cannot be had in the onnxruntime runtime, "
                "none and int8 can"
            )

    def quantize_onnx(
        self, graph: onnx.ModelProto, model: CompressedModel, ctx: StageContext
    ) -> onnx.ModelProto:
        """The graph with int8 products, activations of 8 bits: there its kernels do not overflow.

        As the format is in torch, but for the eighth bit.
        """
        if self.embeddings == "int8":
            graph = quantize_tables(graph, model)
        return quantize_dynamically(graph)


class Int8DynamicLinear(Int8Linear):
    """A Linear with int8 weights that rounds what it reads to int8 as well."""

    arithmetic = "int8"

    def __init__(self, in_features: int, out_features: int, bias: bool) -> None:
        """An empty layer."""
        super().__init__(in_features, out_features, bias)
        self._packed: Any = None

    def forward(self, x: Float[Tensor, "... in"]) -> Float[Tensor, "... out"]:
        """X · Wᵀ + b with int8 arithmetic and an int32 accumulator."""
        if self._packed is None:
            self._packed = _pack(self.weight, self.scale, self.bias)
        # reduce_range: without VNNI, int8 products of 8-bit activations overflow in pairs.
        result: Tensor = torch.ops.quantized.linear_dynamic(x, self._packed, True)
        return result

    def __deepcopy__(self, memo: dict[int, Any]) -> Int8DynamicLinear:
        """A copy that packs its weights anew: the packed form cannot be copied."""
        copied = Int8DynamicLinear(**self.arguments())
        copied.load_state_dict(self.state_dict())
        return copied


def _pack(weight: Tensor, scale: Tensor, bias: Tensor | None) -> Any:
    """The weights in the layout of the processor's int8 kernels.

    torch 2.13 deprecates qint8 tensors, but offers no other way into its CPU int8 kernels, and
    torchao's were slower on the CPUs measured. All use of them is in this function.
    """
    zero_points = torch.zeros(len(scale), dtype=torch.long)
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=".*quantized tensor creation", category=UserWarning
        )
        tensor = torch._make_per_channel_quantized_tensor(weight, scale.double(), zero_points, 0)
        return torch.ops.quantized.linear_prepack(tensor, bias)
