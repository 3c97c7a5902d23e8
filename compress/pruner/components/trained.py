"""Base class of pruners that mask weights while they train them: gradual and movement pruning."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal, Protocol, final

from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError
from compress.config.fields import Fraction
from compress.interfaces import StageContext
from compress.pruner.components.base import BasePruner, PruningState
from compress.records.curve import curve_notes
from compress.training.distillation import (
    Distillation,
    distillation_row_loss,
    held_masks,
    on_logits,
)
from compress.training.train import Objective, train_
from compress.training.trainer import Loss
from compress.transformer.blocks import scoped_linears

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.transformer.blocks import Linear


class TrainedMasks(Protocol):
    """The masks of the layers in scope, and their place in the training."""

    def objective(self, loss: Loss) -> Objective:
        """The training's objective, given the loss on logits."""

    def finish_(self, work: PruningState) -> None:
        """Masks the trained layers at the asked sparsity."""


@dataclass(frozen=True, kw_only=True)
class TrainedPruner(BasePruner, ABC):
    """Zeroes more and more weights while it trains.

    Attributes:
        sparsity: fraction of zeros among the weights in scope at the end.
        scope: which Linear layers: "all" (of the blocks), "attention", "ffn", or a pattern of
            names such as "*.0.*".
        threshold: "layer" takes the same fraction of every layer, "global" of all layers in scope
            together.
        training: the training in which it prunes; runs all its epochs and keeps the last weights,
            so that `patience` and `average` must be null.
    """

    trains = True
    knobs = ("sparsity",)

    sparsity: Fraction
    scope: str
    threshold: Literal["layer", "global"]
    training: Distillation

    def zeroes(self) -> bool:
        """It does."""
        return True

    def __post_init__(self) -> None:
        """Checks that it trains, and cannot return to the weights of another mask."""
        super().__post_init__()
        name = type(self).__name__
        if self.training.epochs == 0:
            raise ConfigError(f"{name}.training.epochs must be > 0: it prunes in training; got 0")
        if self.training.patience is not None:
            raise ConfigError(
                f"{name}.training.patience must be null: an earlier epoch's weights go with an "
                f"earlier mask; got {self.training.patience}"
            )
        if self.training.average is not None:
            raise ConfigError(
                f"{name}.training.average must be null: it would be over weights of other masks; "
                f"got {self.training.average:g}"
            )

    @abstractmethod
    def masks(self, linears: dict[str, Linear]) -> TrainedMasks:
        """The masks of these layers before the training."""

    @final
    def check(self, skeleton: PreTrainedModel) -> PreTrainedModel:
        """The unchanged skeleton; raises a ConfigError if the scope matches no layer."""
        scoped_linears(skeleton, self.scope)
        return skeleton

    @final
    def prune_(self, work: PruningState, ctx: StageContext) -> None:
        """Trains, with masks that grow and the zeros of earlier pruners held."""
        held = held_masks(work.module, work.history)
        masks = self.masks(scoped_linears(work.module, self.scope))
        curve = train_(
            work.module,
            work.tokenizer,
            ctx.data,
            self.training,
            masks.objective(on_logits(distillation_row_loss(self.training, ctx))),
            device=ctx.device,
            seed=ctx.seed,
            masks=held,
            monitor=ctx.monitor,
        )
        masks.finish_(work)
        work.notes |= curve_notes(curve)
