"""Gradual magnitude pruning: train, and zero more of the smallest weights every few steps.

Zhu & Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model compression",
arXiv:1710.01878. Deviations: a weight stays zero once masked, where the paper's code keeps its last
value and may let it return, so each mask lies within the one before; the gradients of masked
weights are computed and count in the clipping, and AdamW's step on them is undone; the update at
`end` happens even if `frequency` does not divide the span, so the target sparsity is reached with
any number of steps; besides the paper's cubic schedule there are two others. Zeros of earlier
pruners are kept, in scope and outside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Bool
from pydantic.dataclasses import dataclass
from torch import Tensor

from compress.config.errors import ConfigError
from compress.config.fields import Fraction
from compress.interfaces import CompressedModel, StageContext
from compress.pruner.components.base import BasePruner, PruningState
from compress.pruner.components.masks import keep_highest, masks_together
from compress.pruner.components.schedule import (
    SparsitySchedule,
    check_trains,
    progress_of,
    scheduled,
)
from compress.records.curve import curve_notes
from compress.training.distillation import Distillation, distillation_row_loss, on_logits
from compress.training.masks import held_masks
from compress.training.train import Objective, train_
from compress.transformer.blocks import scoped_linears, weight_matrix

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.transformer.blocks import Linear


@dataclass(frozen=True, kw_only=True)
class Gradual(BasePruner):
    """Zeroes the weights whose magnitude is smallest, a few more at every update in training.

    Attributes:
        sparsity: fraction of the weights in scope that is zero in the end.
        scope: which Linear layers: "all" (of the blocks), "attention", "ffn", or a pattern of
            names such as "*.0.*".
        threshold: "layer" takes the same fraction of every layer, "global" of all layers in scope
            together.
        schedule: when masks are updated, and how sparsity grows to `sparsity`.
        training: the training in which it prunes; runs all its epochs, `patience` must be null.
    """

    trains = True

    knobs = ("sparsity",)

    sparsity: Fraction
    scope: str
    threshold: Literal["layer", "global"]
    schedule: SparsitySchedule
    training: Distillation

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        check_trains(self, self.training)
        if self.schedule.start_sparsity > self.sparsity:
            raise ConfigError(
                f"Gradual.schedule.start_sparsity must be at most sparsity={self.sparsity}, "
                f"got {self.schedule.start_sparsity}"
            )

    def check(self, skeleton: PreTrainedModel) -> PreTrainedModel:
        """The unchanged skeleton; raises a ConfigError if the scope matches no layer."""
        scoped_linears(skeleton, self.scope)
        return skeleton

    def prune_(self, work: PruningState, ctx: StageContext) -> None:
        """Trains, and prunes at the scheduled steps; notes each update as [step, sparsity]."""
        masks = _GrowingMasks(scoped_linears(work.module, self.scope), self)
        model = CompressedModel(work.module, work.tokenizer, work.history)
        curve = train_(
            work.module,
            work.tokenizer,
            ctx.data,
            self.training,
            Objective(
                on_logits(distillation_row_loss(self.training, ctx)),
                before_step=masks.before_step,
                after_step=masks.after_step,
            ),
            device=ctx.device,
            seed=ctx.seed,
            monitor=ctx.monitor,
            masks=held_masks(model),
        )
        for name, linear in masks.linears.items():
            work.mask_(name, linear, masks.masks[name].to(linear.weight.device))
        work.notes["updates"] = [list(update) for update in masks.updates]
        work.notes |= curve_notes(curve)


class _GrowingMasks:
    """The masks of the layers in scope, and their place in the training.

    Attributes:
        linears: the layers in scope by name.
        masks: by the same names, True where a weight is kept; empty before the first update.
        updates: the number of steps before each update so far, and its sparsity.
    """

    def __init__(self, linears: dict[str, Linear], settings: Gradual) -> None:
        self.linears = linears
        self.masks: dict[str, Bool[Tensor, "out in"]] = {}
        self.updates: list[tuple[int, float]] = []
        self._settings = settings

    def before_step(self, step: int, steps: int) -> None:
        """Updates the masks before the first step, if scheduled."""
        if step == 0:
            self._reach(0, steps)

    def after_step(self, step: int, steps: int) -> None:
        """Applies the masks after the optimizer's step, and updates them if scheduled."""
        self._zero()
        self._reach(step + 1, steps)

    def _reach(self, done: int, steps: int) -> None:
        how = self._settings.schedule
        due = how.update_steps(steps)
        if done not in due:
            return
        first, last = due[0], due[-1]
        progress = progress_of(done, first, last) if first < last else 1.0
        sparsity = scheduled(how.curve, progress, how.start_sparsity, self._settings.sparsity)
        with torch.no_grad():
            scores = {n: weight_matrix(part).abs() for n, part in self.linears.items()}
        keep = masks_together(scores, self._settings.threshold, lambda s: keep_highest(s, sparsity))
        self.masks.update(keep)
        self.updates.append((done, sparsity))
        self._zero()

    @torch.no_grad()
    def _zero(self) -> None:
        for name, mask in self.masks.items():
            weight_matrix(self.linears[name]).mul_(mask)
