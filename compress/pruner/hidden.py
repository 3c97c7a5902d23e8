"""Hidden: remove whole channels of the residual stream, the same ones in every layer.

Muralidharan et al., "Compact Language Models via Pruning and Knowledge Distillation" (Minitron),
arXiv:2407.14679, section 2; how channels are ranked, and how that deviates from the paper, is in
`compress/shaping/channels.py`. Deviations of the cut: poolers and classification heads lose inputs
and outputs of the same numbers although their outputs are not channels of the stream. The weights
that stay keep their values, while norms take their statistics over fewer channels: without
recovery, outputs shift even where the removed channels were small. Heads keep their number and
width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import torch
from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError
from compress.config.fields import Fraction, OneOf, PositiveInt
from compress.interfaces import StageContext
from compress.pruner.components.base import BasePruner, PruningState
from compress.shaping.channels import CHANNEL_IMPORTANCES
from compress.shaping.units import highest
from compress.transformer.residual import keep_channels_, residual_width

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
    importance: Annotated[str, OneOf(CHANNEL_IMPORTANCES)]

    def check(self, skeleton: PreTrainedModel) -> PreTrainedModel:
        """The narrowed skeleton; a ConfigError if its channels are unknown or too few."""
        keep_channels_(skeleton, torch.arange(self._kept_width(residual_width(skeleton))))
        return skeleton

    def prune_(self, work: PruningState, ctx: StageContext) -> None:
        """Ranks the channels, keeps the highest, and records the shapes of resized weights."""
        width = residual_width(work.module)
        kept = self._kept_width(width)
        score = CHANNEL_IMPORTANCES[self.importance](work.module, work.tokenizer, ctx)
        cut = keep_channels_(work.module, highest(score, kept))
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
