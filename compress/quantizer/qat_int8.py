"""Int8 as `int8_dynamic` makes it, after training with its rounding in place (QAT).

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", arXiv:1712.05877, section 3: the forward pass rounds as inference will, the backward
pass takes rounding for the identity (Bengio et al., arXiv:1308.3432). On BERT: Zafrir et al.,
"Q8BERT", arXiv:1910.06188. What is trained is what is exported, so the rounding is that of
`int8_dynamic` and of its kernel. Deviations that follow from it:

- Activations take their scale from each token; both papers keep a moving average of one range.
- Activations are symmetric as in Q8BERT; Jacob et al. have a zero point. Without VNNI they have 7
  bits instead of 8, as in `int8_dynamic`: train on a processor like the one that it will run on.
- Weights are symmetric per output channel; Jacob et al. have one asymmetric range per tensor.
- Norms, biases and all between the Linear layers stay float32. So do embeddings unless asked, which
  Q8BERT rounds.
- Activations are rounded from the first step; Jacob et al. delay it, for training from scratch.
- Scales are constants to the gradient.
- Beside the labels, the teacher's logits are learned (`training.alpha`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from compress.config.errors import ConfigError
from compress.interfaces import CompressedModel, StageContext, Step
from compress.quantizer.int8_dynamic import Int8Dynamic, activation_max
from compress.records.curve import curve_notes
from compress.training.distillation import Distillation, distill_
from compress.transformer.blocks import Linear, every_linear
from compress.transformer.packing import SMALLEST_SCALE, quantize_per_channel
from compress.transformer.quantized_embedding import MAKERS
from compress.transformer.stacks import embedding_tables

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class QatInt8(Int8Dynamic):
    """Trains with int8 rounding of every Linear, then quantizes it.

    Attributes:
        training: on the teacher's logits or the labels, with pruned weights held at zero.
    """

    version = 4

    training: Distillation

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        if self.training.epochs == 0:
            raise ConfigError(
                "QatInt8.training.epochs must be > 0, got 0; without training the format is "
                "quantizer=int8_dynamic"
            )

    def prepare(self, model: CompressedModel, ctx: StageContext) -> CompressedModel:
        """The model with float weights that were trained to be rounded."""
        copied = replace(model, module=copy.deepcopy(model.module))
        with fake_quantized(copied.module, self.embeddings):
            curve = distill_(copied, self.training, ctx)
        notes = {"trained_linears": len(list(every_linear(copied.module))), **curve_notes(curve)}
        return model.then(copied.module, Step("quantizer", self.describe(), notes=notes))


class FakeQuantLinear(nn.Module):
    """Computes what `Int8DynamicLinear.of(linear)` would, with gradients for the Linear's weights.

    The parameters are the Linear's own, under the names that they had. Under autocast the outputs
    have its type, as those of a Linear do: DeBERTa masks with the least number of that type.
    """

    def __init__(self, linear: Linear) -> None:
        """Stands in for a Linear that stays as it is."""
        super().__init__()
        self.weight = linear.weight
        self.bias: nn.Parameter | None
        self.register_parameter("bias", linear.bias)
        self._stored_as_in_out = isinstance(linear, Conv1D)

    def forward(self, x: Float[Tensor, "... in"]) -> Float[Tensor, "... out"]:
        """X · Wᵀ + b with both factors rounded."""
        weight = self.weight.T if self._stored_as_in_out else self.weight
        output = fake_quantized_linear(x.float(), weight, self.bias)
        mixed = torch.is_autocast_enabled(x.device.type)
        return output.to(torch.get_autocast_dtype(x.device.type)) if mixed else output


def fake_quantized_linear(
    x: Float[Tensor, "... in"], weight: Float[Tensor, "out in"], bias: Float[Tensor, " out"] | None
) -> Float[Tensor, "... out"]:
    """s_x · s_w · (codes of X) · (codes of W)ᵀ + b.

    The codes are multiplied and scaled afterwards, as the kernel does it: whole numbers up to 127
    are exact in bfloat16 too, so that under autocast only the sums are rounded once more.
    """
    weight_codes, weight_scale = quantize_per_channel(weight.detach())
    x_codes, x_scale = quantize_per_token(x.detach(), activation_max())
    total = functional.linear(
        straight_through(x / x_scale, x_codes),
        straight_through(weight / weight_scale[:, None], weight_codes.float()),
    )
    product = total.float() * (x_scale * weight_scale)
    return product if bias is None else product + bias


def quantize_per_token(
    x: Float[Tensor, "... in"], largest_code: int
) -> tuple[Float[Tensor, "... in"], Float[Tensor, "... 1"]]:
    """What the kernel makes of activations: round(x / scale), scale = max_j |x_j| / largest code.

    Returns:
        The codes, whole numbers from -largest_code to largest_code; and the scales, 1 for a token
        of zeros, as which all below 1e-36 count.
    """
    largest = x.abs().amax(dim=-1, keepdim=True)
    vanishes = largest < largest_code * SMALLEST_SCALE
    largest = torch.where(vanishes, float(largest_code), largest)
    # As fbgemm's kernel does it, to the bit but for its fused multiply-add: it adds the zero point
    # before rounding, so that a value that is half-way between two codes may go the other way.
    zero_point = largest_code + 1
    codes = (x / largest * largest_code + zero_point).round() - zero_point
    return codes, largest / largest_code


def straight_through(exact: Float[Tensor, ...], rounded: Float[Tensor, ...]) -> Float[Tensor, ...]:
    """The rounded values, to the bit, with the gradient of the exact ones."""
    return rounded + (exact - exact.detach())


@contextmanager
def fake_quantized(module: PreTrainedModel, embeddings: str) -> Iterator[None]:
    """Makes a model compute with the rounding of its int8 format, also of its embeddings."""
    linears = dict(every_linear(module))
    tables = embedding_tables(module).values() if embeddings != "none" else ()
    hooks = [t.register_forward_hook(partial(_round_rows, embeddings)) for t in tables]
    for name, linear in linears.items():
        module.set_submodule(name, FakeQuantLinear(linear))
    try:
        yield
    finally:
        for name, linear in linears.items():
            module.set_submodule(name, linear)
        for hook in hooks:
            hook.remove()


def _round_rows(
    embeddings: str, table: nn.Embedding, ids: tuple[Tensor], rows: Float[Tensor, "... dim"]
) -> Float[Tensor, "... dim"]:
    """The rows that a table gave as its quantized form would: each row is rounded by itself."""
    flat = rows.detach().reshape(-1, rows.shape[-1])
    looked_up = nn.Embedding.from_pretrained(flat)  # type: ignore[no-untyped-call]
    numbers = torch.arange(len(flat)).view(rows.shape[:-1])
    return straight_through(rows, MAKERS[embeddings](looked_up)(numbers))
