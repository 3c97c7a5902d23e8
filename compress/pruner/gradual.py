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

from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool
from pydantic.dataclasses import dataclass
from torch import Tensor

from compress.config.errors import ConfigError
from compress.pruner.components.base import PruningState
from compress.pruner.components.masks import keep_highest, masks_together
from compress.pruner.components.schedule import SparsitySchedule, progress_of, scheduled
from compress.pruner.components.trained import TrainedPruner
from compress.training.train import Objective
from compress.training.trainer import Loss
from compress.transformer.blocks import weight_matrix

if TYPE_CHECKING:
    from compress.transformer.blocks import Linear


@dataclass(frozen=True, kw_only=True)
class Gradual(TrainedPruner):
    """Zeroes the weights whose magnitude is smallest, a few more at every update in training.

    Attributes:
        schedule: when masks are updated, and how sparsity grows to `sparsity`.
    """

    schedule: SparsitySchedule

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        if self.schedule.start_sparsity > self.sparsity:
            raise ConfigError(
                f"Gradual.schedule.start_sparsity must be at most sparsity={self.sparsity}, "
                f"got {self.schedule.start_sparsity}"
            )

    def masks(self, linears: dict[str, Linear]) -> GrowingMasks:
        """None until the first update."""
        return GrowingMasks(linears, self)


class GrowingMasks:
    """Masks that grow by weight magnitude, each within the one before.

    Attributes:
        masks: by layer name, True where a weight is kept; empty before the first update.
        updates: the number of steps before each update so far, and its sparsity.
    """

    def __init__(self, linears: dict[str, Linear], settings: Gradual) -> None:
        """No masks."""
        self._linears, self._settings = linears, settings
        self.masks: dict[str, Bool[Tensor, "out in"]] = {}
        self.updates: list[list[float]] = []

    def objective(self, loss: Loss) -> Objective:
        """The loss as it is; masks are updated between steps."""
        return Objective(loss, before_step=self._before_step, after_step=self._after_step)

    def finish_(self, work: PruningState) -> None:
        """Expects the zeros of the last masks; notes each update as [step, sparsity]."""
        for name, linear in self._linears.items():
            work.mask_(name, linear, self.masks[name].to(linear.weight.device))
        work.notes["updates"] = self.updates

    def _before_step(self, step: int, steps: int) -> None:
        if step == 0:
            self._update(0, steps)

    def _after_step(self, step: int, steps: int) -> None:
        self._zero()
        self._update(step + 1, steps)

    def _update(self, done: int, steps: int) -> None:
        """Updates the masks, if that is due after so many steps."""
        how = self._settings.schedule
        due = how.update_steps(steps)
        if done not in due:
            return
        first, last = due[0], due[-1]
        progress = progress_of(done, first, last) if first < last else 1.0
        sparsity = scheduled(how.curve, progress, how.start_sparsity, self._settings.sparsity)
        scores = {n: weight_matrix(part).detach().abs() for n, part in self._linears.items()}
        self.masks = masks_together(
            scores, self._settings.threshold, lambda score: keep_highest(score, sparsity)
        )
        self.updates.append([done, sparsity])
        self._zero()

    @torch.no_grad()
    def _zero(self) -> None:
        for name, mask in self.masks.items():
            weight_matrix(self._linears[name]).mul_(mask)
