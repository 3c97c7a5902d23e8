"""Dynamic int8: weights as int8 per output channel, activations quantised as they come.

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", arXiv:1712.05877, section 2.1, with weights symmetric per channel (Krishnamoorthi,
arXiv:1806.08342, section 3.1) and one scale per activation tensor and call. Deviation: embeddings,
norms and biases stay float32, and so does the arithmetic between the Linear layers.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int8
from torch import Tensor

from compress.blocks import Linear, every_linear, shape_of, weight_matrix
from compress.interfaces import Quantizer
from compress.modules import StoredModule
from compress.runtime.torch import TorchFormat

if TYPE_CHECKING:
    from transformers import PreTrainedModel

INT8_MAX = 127


@dataclass(frozen=True, kw_only=True)
class Int8Dynamic(Quantizer, TorchFormat):
    """Makes every Linear of the model int8, the classifier included."""

    torch_devices = ("cpu",)

    def quantize_torch_(self, module: PreTrainedModel) -> None:
        """Replaces each Linear by an `Int8DynamicLinear`."""
        for name, linear in list(every_linear(module)):
            module.set_submodule(name, Int8DynamicLinear.of(linear))


class Int8DynamicLinear(StoredModule):
    """A Linear with int8 weights. Its state is plain tensors: what is on disk is what it says."""

    def __init__(self, in_features: int, out_features: int, bias: bool) -> None:
        """An empty layer; the weights come from `of` or from a state dict."""
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight: Tensor
        self.scale: Tensor
        self.bias: Tensor | None
        self.register_buffer("weight", torch.zeros(out_features, in_features, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(out_features))
        self.register_buffer("bias", torch.zeros(out_features) if bias else None)
        self._packed: Any = None

    @classmethod
    def of(cls, linear: Linear) -> Int8DynamicLinear:
        """The int8 version of a float Linear."""
        out_features, in_features = shape_of(linear)
        made = cls(in_features, out_features, linear.bias is not None)
        weight, scale = quantize_per_channel(weight_matrix(linear).detach().float().contiguous())
        state = {"weight": weight, "scale": scale}
        if linear.bias is not None:
            state["bias"] = linear.bias.detach().float()
        made.load_state_dict(state)
        return made

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments."""
        sizes = {"in_features": self.in_features, "out_features": self.out_features}
        return {**sizes, "bias": self.bias is not None}

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """The int8 codes and the bias."""
        yield "weight", self.weight
        if self.bias is not None:
            yield "bias", self.bias

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


def quantize_per_channel(
    weight: Float[Tensor, "out in"],
) -> tuple[Int8[Tensor, "out in"], Float[Tensor, " out"]]:
    """Symmetric int8: scale_i = max_j |W_ij| / 127, q = round(W / scale); zero stays zero."""
    largest = weight.abs().amax(dim=1)
    scale = torch.where(largest > 0, largest / INT8_MAX, torch.ones_like(largest))
    quantized = (weight / scale[:, None]).round().clamp(-INT8_MAX, INT8_MAX)
    return quantized.to(torch.int8), scale


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
