"""Importance of the channels of the residual stream, the same ones in every layer.

Muralidharan et al., "Compact Language Models via Pruning and Knowledge Distillation" (Minitron),
arXiv:2407.14679, section 2: the embedding channels are ranked by the outputs of the layers' norms
on a small calibration set. Deviations: the outputs are aggregated as the mean of |x| over all
tokens of all rows, one of the paper's choices (its best is the L2 norm over the batch of the mean
over the sequence); each calibration row is a text or an image of the task; the paper prunes
decoders, here encoders too. `l1` and `random` are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from compress.interfaces import StageContext
from compress.transformer.calibration import calibration_rows
from compress.transformer.residual import residual_matrices, residual_norms, residual_width

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.interfaces import Processor


def activation_sum(outputs: Float[Tensor, "... width"]) -> Float[Tensor, " width"]:
    """Σ|x| of each channel over the output tokens of one norm."""
    return outputs.abs().flatten(0, -2).sum(dim=0)


def l1_sum(matrix: Float[Tensor, "other width"]) -> Float[Tensor, " width"]:
    """Σ|W| of each channel over what reads or writes it."""
    return matrix.abs().sum(dim=0)


@torch.no_grad()
def activation_importance(
    module: PreTrainedModel, tokenizer: Processor, ctx: StageContext
) -> Float[Tensor, " width"]:
    """Mean |output| of each channel over all norms in the layers and all calibration tokens."""
    total = torch.zeros(residual_width(module), device=module.device)
    tokens = 0

    def add(_: nn.Module, __: tuple[Tensor, ...], outputs: Tensor) -> None:
        nonlocal tokens
        total.add_(activation_sum(outputs.float()))
        tokens += outputs.numel() // outputs.shape[-1]

    with ExitStack() as hooks:
        for norm in residual_norms(module).values():
            hooks.enter_context(norm.register_forward_hook(add))
        for row in calibration_rows(module, tokenizer, ctx.data.calibration):
            module(**row)
    return total / tokens


@torch.no_grad()
def l1_importance(
    module: PreTrainedModel, tokenizer: Processor, ctx: StageContext
) -> Float[Tensor, " width"]:
    """Σ|W| of each channel over all projections in the layers."""
    total = torch.zeros(residual_width(module), device=module.device)
    for matrix in residual_matrices(module):
        total += l1_sum(matrix)
    return total


def random_importance(
    module: PreTrainedModel, tokenizer: Processor, ctx: StageContext
) -> Float[Tensor, " width"]:
    """Uniform in [0, 1), drawn from the run's seed."""
    generator = torch.Generator().manual_seed(ctx.seed)
    return torch.rand(residual_width(module), generator=generator)


Importance: TypeAlias = Callable[
    ["PreTrainedModel", "Processor", StageContext], Float[Tensor, " width"]
]
CHANNEL_IMPORTANCES: dict[str, Importance] = {
    "activation": activation_importance,
    "l1": l1_importance,
    "random": random_importance,
}
