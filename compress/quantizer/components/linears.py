"""Base classes of the formats for Linear weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Self

import torch
from jaxtyping import Float, Int8
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional

from compress.config.fields import OneOf
from compress.interfaces import Quantizer
from compress.quantizer.components.torch_format import TorchFormat
from compress.transformer.blocks import every_linear, shape_of, weight_matrix
from compress.transformer.packing import channel_bound, quantize_per_channel
from compress.transformer.quantized_embedding import (
    CHOICES,
    TABLE_BITS,
    check_embeddings,
    quantize_embeddings_,
)
from compress.transformer.rounding import check_quantized
from compress.transformer.stacks import Linear, check_all_linear
from compress.transformer.stored_modules import QuantizedModule
from compress.transformer.surgery import replace_linear_

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class LinearFormat(Quantizer, TorchFormat):
    """Puts every Linear of the model, the classifier included, into one format.

    Attributes:
        embeddings: format of the token, position and type embeddings: none (float32), int8 or int4.
    """

    embeddings: Annotated[str, OneOf(CHOICES)]

    def check(self, skeleton: PreTrainedModel) -> None:
        """Raises a ConfigError unless all layers are Linear and embeddings can be quantized."""
        check_all_linear(skeleton, f"quantizer {type(self).__name__}")
        check_embeddings(skeleton, self.embeddings)

    def table_bits(self) -> int:
        """The bits of `embeddings`."""
        return TABLE_BITS[self.embeddings]

    @abstractmethod
    def quantized(self, linear: Linear) -> QuantizedLinear:
        """The module to put in a Linear's place."""

    def formats(self, module: PreTrainedModel) -> dict[str, Self]:
        """The format of each Linear, by name."""
        return {name: self for name, _ in every_linear(module)}

    def quantize_torch_(self, module: PreTrainedModel) -> None:
        """Replaces each Linear, and the embeddings if asked; checks what each became."""
        formats = self.formats(module)
        for name, linear in list(every_linear(module)):
            layer = formats[name].quantized(linear).to(linear.weight.device)
            check_quantized(name, layer, weight_matrix(linear).detach().float())
            replace_linear_(module, name, linear, layer)
        quantize_embeddings_(module, self.embeddings)


class QuantizedLinear(QuantizedModule, ABC):
    """A Linear with quantized weights, whose state dict is what is saved."""

    def __init__(self, in_features: int, out_features: int, bias: bool) -> None:
        """An empty layer, to be filled from a Linear or from a state dict."""
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.bias: Tensor | None
        self.register_buffer("bias", torch.zeros(out_features) if bias else None)

    @classmethod
    def of(cls, linear: Linear, *settings: Any) -> Self:
        """The quantized version of a float Linear; `settings` are of the format."""
        out_features, in_features = shape_of(linear)
        layer = cls(in_features, out_features, linear.bias is not None, *settings)
        state = layer.encoded(weight_matrix(linear).detach().float().contiguous())
        if linear.bias is not None:
            state["bias"] = linear.bias.detach().float()
        layer.load_state_dict(state)
        return layer

    @abstractmethod
    def encoded(self, weight: Float[Tensor, "out in"]) -> dict[str, Tensor]:
        """The state dict for a weight, without the bias."""

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments that all formats share."""
        sizes = {"in_features": self.in_features, "out_features": self.out_features}
        return {**sizes, "bias": self.bias is not None}

    def plain_shape(self) -> tuple[int, int]:
        """The shape of the Linear."""
        return self.out_features, self.in_features

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """The codes and the bias."""
        yield from super().weights()
        if self.bias is not None:
            yield "bias", self.bias

    def forward(self, x: Float[Tensor, "... in"]) -> Float[Tensor, "... out"]:
        """X · Wᵀ + b with W dequantized."""
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return functional.linear(x, self.matrix().to(x.dtype), bias)


class Int8Linear(QuantizedLinear, ABC):
    """A Linear with int8 weights and one scale per output channel; formats differ in `forward`."""

    bits = 8

    def __init__(self, in_features: int, out_features: int, bias: bool) -> None:
        """An empty layer."""
        super().__init__(in_features, out_features, bias)
        self.qweight: Tensor
        self.scale: Tensor
        self.register_buffer("qweight", torch.zeros(out_features, in_features, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(out_features))

    def encoded(self, weight: Float[Tensor, "out in"]) -> dict[str, Tensor]:
        """Codes and scales."""
        codes, scale = quantize_per_channel(weight)
        return {"qweight": codes, "scale": scale}

    def codes(self) -> Int8[Tensor, "out in"]:
        """The int8 codes."""
        return self.qweight

    def matrix(self) -> Float[Tensor, "out in"]:
        """Q · s."""
        return self.qweight * self.scale[:, None]

    def error_bound(self, weight: Float[Tensor, "out in"]) -> Float[Tensor, "out 1"]:
        """Half a step of each output channel."""
        return channel_bound(weight)
