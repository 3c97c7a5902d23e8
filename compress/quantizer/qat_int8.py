"""Int8 as `int8_dynamic` makes it, after training with its rounding in place (QAT).

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", arXiv:1712.05877, section 3: the forward pass rounds as inference will, the backward
pass takes rounding for the identity (Bengio et al., arXiv:1308.3432). On BERT: Zafrir et al.,
"Q8BERT", arXiv:1910.06188. What is trained is what is exported, so the rounding is that of
`int8_dynamic` and of its kernel. Deviations that follow from it:

- Activations take their range from each call; both papers keep a moving average of it.
- Activations are asymmetric of 7 bits, 0 to 127 (`reduce_range` of the kernel); both papers have 8.
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
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from compress.blocks import Linear, every_linear
from compress.curve import curve_notes
from compress.distillation import Distillation, distill_
from compress.interfaces import CompressedModel, StageContext, Step
from compress.pruner.reducer import held_masks
from compress.quantizer.embeddings import MAKERS, embedding_tables
from compress.quantizer.int8_dynamic import Int8DynamicLinear
from compress.quantizer.linears import LinearFormat
from compress.quantizer.packing import quantize_per_channel
from compress.settings import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ACTIVATION_MAX = 127
# The kernel takes no smaller scale: SMALL_SCALE_THRESHOLD in ATen/native/quantized/cpu/QuantUtils.h
SMALLEST_SCALE = 6.1e-5


@dataclass(frozen=True, kw_only=True)
class QatInt8(LinearFormat):
    """Trains every Linear to be int8, then makes it so.

    Attributes:
        training: on the teacher's logits or the labels, with pruned weights held at zero.
    """

    weight_bits = 8
    torch_devices = ("cpu",)
    compiles = False

    training: Distillation

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ConfigError: there is no training, which would be `int8_dynamic`.
        """
        super().__post_init__()
        if self.training.epochs == 0:
            raise ConfigError(
                "QatInt8.training.epochs must be > 0, got 0; without training the format is "
                "quantizer=int8_dynamic"
            )

    def prepare(self, model: CompressedModel, ctx: StageContext) -> CompressedModel:
        """The model with float weights that were trained to be rounded."""
        module = copy.deepcopy(model.module)
        with fake_quantized(module, self.embeddings):
            curve = distill_(module, model.tokenizer, self.training, ctx, held_masks(model))
        notes = {"trained_linears": len(list(every_linear(module))), **curve_notes(curve)}
        return model.then(module, Step("quantizer", self.describe(), notes=notes))

    def quantized(self, linear: Linear) -> Int8DynamicLinear:
        """The dynamic int8 version of a Linear."""
        return Int8DynamicLinear.of(linear)


class FakeQuantLinear(nn.Module):
    """Computes what `Int8DynamicLinear.of(linear)` would, with gradients for the Linear's weights.

    The parameters are the Linear's own, under the names that they had.
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
        return fake_quantized_linear(x.float(), weight, self.bias)


def fake_quantized_linear(
    x: Float[Tensor, "... in"], weight: Float[Tensor, "out in"], bias: Float[Tensor, " out"] | None
) -> Float[Tensor, "... out"]:
    """s_x · s_w · (codes of X) · (codes of W)ᵀ + b.

    The codes are multiplied and scaled afterwards, as the kernel does it: whole numbers up to 127
    are exact in bfloat16 too, so that under autocast only the sums are rounded once more.
    """
    weight_codes, weight_scale = quantize_per_channel(weight.detach())
    x_codes, x_scale = quantize_per_tensor(x.detach())
    total = functional.linear(
        straight_through(x / x_scale, x_codes),
        straight_through(weight / weight_scale[:, None], weight_codes.float()),
    )
    product = total.float() * (x_scale * weight_scale)
    return product if bias is None else product + bias


def quantize_per_tensor(x: Float[Tensor, ...]) -> tuple[Float[Tensor, ...], Float[Tensor, ""]]:
    """What the kernel makes of activations: round(x / scale) within 127 steps that include 0.

    Returns:
        The codes less their zero point, whole numbers from -127 to 127; and the scale.
    """
    low, high = (limit.double() for limit in x.aminmax())
    low, high = low.clamp_max(0), high.clamp_min(0)
    step = (high - low) / ACTIVATION_MAX
    zero_point = (-low / step.clamp_min(torch.finfo(step.dtype).tiny)).round().float()
    scale = step.clamp_min(SMALLEST_SCALE).float()
    # As oneDNN's kernel does it, to the bit but for its fused multiply-add; fbgemm's adds the zero
    # point after rounding. They differ where a value is half-way between two codes.
    codes = (x * (1 / scale) + zero_point).round().clamp(0, ACTIVATION_MAX)
    return codes - zero_point, scale


def straight_through(exact: Float[Tensor, ...], rounded: Float[Tensor, ...]) -> Float[Tensor, ...]:
    """The rounded values, to the bit, with the gradient of the exact ones."""
    return rounded + (exact - exact.detach())


@contextmanager
def fake_quantized(module: PreTrainedModel, embeddings: str) -> Iterator[None]:
    """Within it, a model computes as its int8 form will.

    Args:
        module: the model, whose Linear layers come back afterwards.
        embeddings: "none", or the format that its tables will have.
    """
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
    """The rows that a table gave as its quantised form would: each row is rounded by itself."""
    flat = rows.detach().reshape(-1, rows.shape[-1])
    looked_up = nn.Embedding.from_pretrained(flat)  # type: ignore[no-untyped-call]
    numbers = torch.arange(len(flat)).view(rows.shape[:-1])
    return straight_through(rows, MAKERS[embeddings](looked_up)(numbers))
