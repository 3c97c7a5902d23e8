"""The order of a model's heads, neurons and channels by importance.

A model whose most important units come first computes the same function, and the first units of
each layer are those that a smaller model would keep.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from compress.interfaces import StageContext
from compress.shaping.channels import CHANNEL_IMPORTANCES
from compress.shaping.embedding import token_counts
from compress.shaping.importance import IMPORTANCES, Sites
from compress.shaping.units import KINDS, ranked, unit_sites
from compress.transformer.residual import keep_channels_, residual_width
from compress.transformer.stacks import token_table
from compress.transformer.surgery import keep_units_

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.interfaces import Processor


class Order(Protocol):
    """The order in which a model's parts are kept."""

    def channels(self, module: PreTrainedModel) -> Int[Tensor, " width"]:
        """The channels of the residual stream, those to keep first."""

    def units(self, module: PreTrainedModel, sites: Sites) -> Sequence[Int[Tensor, " units"]]:
        """The units of each site, those to keep first."""

    def frequencies(self, module: PreTrainedModel) -> Float[Tensor, " tokens"] | None:
        """How often each token of the model occurs; None without rows."""


class ByPlace:
    """The order of a skeleton, which has no weights to rank by, or of a model that is sorted."""

    def channels(self, module: PreTrainedModel) -> Int[Tensor, " width"]:
        """The channels by place."""
        return torch.arange(residual_width(module))

    def units(self, module: PreTrainedModel, sites: Sites) -> Sequence[Int[Tensor, " units"]]:
        """The units by place."""
        return [torch.arange(units.count) for _, units in sites]

    def frequencies(self, module: PreTrainedModel) -> None:
        """None."""


@dataclass(frozen=True)
class ByImportance:
    """The order of descending importance, in which equally important parts stay by place.

    Attributes:
        tokenizer: of the model.
        importance: of heads and neurons, one of `IMPORTANCES`; channels are ranked by activation.
    """

    tokenizer: Processor
    ctx: StageContext
    importance: str

    def channels(self, module: PreTrainedModel) -> Int[Tensor, " width"]:
        """The channels by the size of the norms' outputs on the calibration rows."""
        return ranked(CHANNEL_IMPORTANCES["activation"](module, self.tokenizer, self.ctx)).cpu()

    def units(self, module: PreTrainedModel, sites: Sites) -> Sequence[Int[Tensor, " units"]]:
        """The units of each layer by their importance, all measured before the first cut."""
        scores = IMPORTANCES[self.importance](module, self.tokenizer, sites, self.ctx)
        return [ranked(score).cpu() for score in scores]

    def frequencies(self, module: PreTrainedModel) -> Float[Tensor, " tokens"] | None:
        """How often each token of the model is in the rows to learn from; None if it reads none."""
        table, rows = token_table(module), self.ctx.data.learned
        return None if table is None else token_counts(self.tokenizer, rows, table.num_embeddings)


def sort_by_importance_(
    module: PreTrainedModel,
    tokenizer: Processor,
    ctx: StageContext,
    importance: str,
    axes: Collection[str] = ("hidden", *KINDS),
) -> None:
    """Reorders channels, heads and neurons, the most important first; outputs stay the same.

    Args:
        module: changes in place.
        tokenizer: of the model.
        ctx: whose calibration rows are run.
        importance: of heads and neurons, one of `IMPORTANCES`.
        axes: what is reordered: "hidden" for the channels, "heads", "neurons".

    Raises:
        ConfigError: the architecture is unknown; see `residual_width` and `unit_sites`.
    """
    order = ByImportance(tokenizer, ctx, importance)
    if "hidden" in axes:
        keep_channels_(module, order.channels(module))
    for kind in KINDS:
        if kind in axes:
            sites = unit_sites(module, kind)
            for (block, units), kept in zip(sites, order.units(module, sites), strict=True):
                keep_units_(block, units, kept)
