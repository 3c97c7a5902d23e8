"""Hidden: remove whole channels of the residual stream, the same ones in every layer.

Muralidharan et al., "Compact Language Models via Pruning and Knowledge Distillation" (Minitron),
arXiv:2407.14679, section 2: the embedding channels are ranked by the outputs of the layers' norms
on a small calibration set. Deviations: the outputs are aggregated as the mean of |x| over all
tokens of all rows, one of the paper's choices (its best is the L2 norm over the batch of the mean
over the sequence); each calibration row is a text or an image of the task; the paper prunes
decoders, here encoders too, whose poolers and classification heads lose inputs and outputs of the
same numbers although their outputs are not channels of the stream. The weights that stay keep their
values, while norms take their statistics over fewer channels: without recovery, outputs shift even
where the removed channels were small. Heads keep their number and width. `l1` and `random` are
ours.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import torch
from jaxtyping import Float
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from compress.config.errors import ConfigError
from compress.config.fields import Fraction, OneOf, PositiveInt
from compress.interfaces import StageContext
from compress.pruner.components.base import BasePruner, PruningState
from compress.transformer.calibration import calibration_rows
from compress.transformer.residual import (
    keep_channels_,
    residual_matrices,
    residual_norms,
    residual_width,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class Hidden(BasePruner):
    """Narrows the residual stream: real shapes, no zeros.

    Attributes:
        sparsity: fraction of the channels to remove.
        round_to: the kept width is rounded to a multiple of it.
        importance: what ranks the channels: "activation" (mean |output| of the layers' norms over
            the calibration tokens), "l1" (Σ|W| of the blocks' projections), or "random".
    """

    knobs = ("sparsity",)

    sparsity: Fraction
    round_to: PositiveInt
    importance: Annotated[str, OneOf(IMPORTANCES)]

    def check(self, skeleton: PreTrainedModel) -> PreTrainedModel:
        """The narrowed skeleton; a ConfigError if its channels are unknown or too few."""
        keep_channels_(skeleton, torch.arange(self._kept_width(residual_width(skeleton))))
        return skeleton

    def prune_(self, work: PruningState, ctx: StageContext) -> None:
        """Ranks the channels, keeps the highest, and records the shapes of resized weights."""
        width = residual_width(work.module)
        kept = self._kept_width(width)
        ranked = IMPORTANCES[self.importance](work, ctx).sort(descending=True, stable=True).indices
        cut = keep_channels_(work.module, ranked[:kept].sort().values)
        parameters = dict(work.module.named_parameters())
        work.shapes.update({name: tuple(parameters[name].shape) for name in cut})
        work.notes["hidden_width"] = {"before": width, "kept": kept}

    def _kept_width(self, width: int) -> int:
        kept = round((1 - self.sparsity) * width / self.round_to) * self.round_to
        if not 0 < kept <= width or (kept == width and self.sparsity > 0):
            raise ConfigError(
                f"Hidden.sparsity={self.sparsity:g} with round_to={self.round_to} would keep "
                f"{kept} of {width} channels; expected a multiple of round_to above 0 and below "
                f"{width}: lower round_to or change sparsity"
            )
        return kept


def activation_sum(outputs: Float[Tensor, "... width"]) -> Float[Tensor, " width"]:
    """Σ|x| of each channel over the output tokens of one norm."""
    return outputs.abs().flatten(0, -2).sum(dim=0)


def l1_sum(matrix: Float[Tensor, "other width"]) -> Float[Tensor, " width"]:
    """Σ|W| of each channel over what reads or writes it."""
    return matrix.abs().sum(dim=0)


@torch.no_grad()
def _activation(work: PruningState, ctx: StageContext) -> Float[Tensor, " width"]:
    """Mean |output| of each channel over all norms in the layers and all calibration tokens."""
    total = torch.zeros(residual_width(work.module), device=work.module.device)
    tokens = 0

    def add(_: nn.Module, __: tuple[Tensor, ...], outputs: Tensor) -> None:
        nonlocal tokens
        total.add_(activation_sum(outputs.float()))
        tokens += outputs.numel() // outputs.shape[-1]

    with ExitStack() as hooks:
        for norm in residual_norms(work.module).values():
            hooks.enter_context(norm.register_forward_hook(add))
        for row in calibration_rows(work.module, work.tokenizer, ctx.data.calibration):
            work.module(**row)
    return total / tokens


@torch.no_grad()
def _l1(work: PruningState, ctx: StageContext) -> Float[Tensor, " width"]:
    """Σ|W| of each channel over all projections in the layers."""
    total = torch.zeros(residual_width(work.module), device=work.module.device)
    for matrix in residual_matrices(work.module):
        total += l1_sum(matrix)
    return total


def _random(work: PruningState, ctx: StageContext) -> Float[Tensor, " width"]:
    generator = torch.Generator().manual_seed(ctx.seed)
    return torch.rand(residual_width(work.module), generator=generator)


IMPORTANCES: dict[str, Callable[[PruningState, StageContext], Float[Tensor, " width"]]] = {
    "activation": _activation,
    "l1": _l1,
    "random": _random,
}
