"""Movement pruning: learn in training which weights move away from zero, and keep those.

Sanh, Wolf, Rush, "Movement Pruning: Adaptive Sparsity by Fine-Tuning", arXiv:2005.07683. Every
weight in scope has a score S that starts at 0. The forward pass uses W' = W ⊙ M(S); backwards, the
mask is passed straight through: ∂L/∂S = ∂L/∂W' ⊙ W (section 4), which is negative for weights
that grow, so that gradient descent raises their scores. As in the authors' code the kept fraction
(for "soft", the penalty's weight and the cut-off) follows the cubic schedule, and the penalty is
the mean of σ(S) per layer, averaged over layers.

Deviations:
- The last mask is exactly the asked sparsity of the learned scores for "soft" too. In the paper the
  penalty alone decides how much goes; the notes have what the cut-off alone would have dropped
  (`threshold_sparsity`).
- While training, weights whose score ties with the lowest that is kept stay: so nothing is masked
  before scores move. Where those of no layer ever do, the training is refused as too short. Layers
  that the loss of no row depends on keep equal scores and lose weights by their place (`unmoved` in
  the notes), such as the last layer's local queries in a Longformer that classifies by its global
  token.
- A weight that is zero, such as one that an earlier pruner took, ranks below every other: its score
  has no gradient, and to keep it keeps nothing. Zeros of earlier pruners are held.
- Embeddings train as in any other training here; the paper freezes them. Scores are not clipped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn.utils import parametrize
from transformers.pytorch_utils import Conv1D

from compress.config.errors import ConfigError, UserError
from compress.config.fields import NotNegative, Positive
from compress.config.settings import Settings
from compress.pruner.components.base import PruningState
from compress.pruner.components.masks import keep_highest, masks_together
from compress.pruner.components.schedule import Span, progress_of, scheduled
from compress.pruner.components.trained import TrainedPruner
from compress.training.train import Objective
from compress.training.trainer import Loss

if TYPE_CHECKING:
    from compress.transformer.blocks import Linear

ORIGINAL = "parametrizations.weight.original"  # what torch calls the weight under a mask


@dataclass(frozen=True, kw_only=True)
class Selection(Settings):
    """What is masked in training, and how the scores learn.

    Attributes:
        method: "topk" masks the scheduled fraction of lowest scores, "soft" every score whose
            sigmoid is not above `cutoff`, under `penalty`. Soft compares the scores of all layers:
            it requires threshold=global.
        penalty: λ, weight of the mean of σ(S) in the loss of "soft".
        cutoff: τ, the threshold of "soft" for the sigmoid of a score; scores start at 0, whose
            sigmoid is 0.5.
        learning_rate: peak learning rate of the scores, with the same schedule as that of the
            weights.
    """

    method: Literal["topk", "soft"]
    penalty: NotNegative
    cutoff: Annotated[float, Field(ge=0, lt=0.5)]
    learning_rate: Positive


@dataclass(frozen=True, kw_only=True)
class Movement(TrainedPruner):
    """Zeroes the weights whose learned score is lowest: those that training moves towards zero.

    Threshold "layer" is the paper's top-v.

    Attributes:
        selection: what is masked in training, and how the scores learn.
        schedule: when pruning begins; and when sparsity, or λ and τ, reach their full value.
    """

    selection: Selection
    schedule: Span

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        if self.selection.method == "soft" and self.threshold != "global":
            raise ConfigError(
                "Movement.selection.method=soft requires threshold=global, got threshold=layer"
            )

    def masks(self, linears: dict[str, Linear]) -> LearnedMasks:
        """Scores of 0, nothing masked."""
        return LearnedMasks(linears, self)


def keep_with_ties(rank: Float[Tensor, ...], sparsity: float) -> Bool[Tensor, ...]:
    """Drops the lowest `sparsity` of all entries, but none that ties with the lowest one kept."""
    dropped = min(round(sparsity * rank.numel()), rank.numel() - 1)
    return rank >= rank.flatten().kthvalue(dropped + 1).values


class _StraightThrough(torch.autograd.Function):
    """W ⊙ M, with the gradient of S passed through M: ∂L/∂S = ∂L/∂W' ⊙ W."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
        ctx.save_for_backward(weight, mask)
        return weight * mask

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        weight, mask = ctx.saved_tensors
        return gradient * mask, gradient * weight, None


class LearnedMask(nn.Module):
    """A weight as W ⊙ M: what `torch.nn.utils.parametrize` puts in its place.

    Attributes:
        scores: S, shaped as the weight is stored. A plain tensor and no parameter of the module, so
            that Trainer does not find it: it would learn at the weights' rate, and decay.
        mask: M, True where the weight lives.
    """

    def __init__(self, weight: Float[Tensor, ...]) -> None:
        """Scores of 0, nothing masked."""
        super().__init__()
        self.scores = torch.zeros_like(weight, dtype=torch.float32).requires_grad_()
        self.mask = torch.ones_like(weight, dtype=torch.bool)

    def forward(self, weight: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """W ⊙ M."""
        masked: Tensor = _StraightThrough.apply(weight, self.scores, self.mask)  # type: ignore[no-untyped-call]
        return masked


class LearnedMasks:
    """The learned masks of the layers in scope, by name, and their place in the training."""

    def __init__(self, linears: dict[str, Linear], settings: Movement) -> None:
        """Puts a mask with scores of 0 on each layer."""
        self._linears = linears
        self._settings = settings
        self._share = 0.0  # of the way to full sparsity, or to full penalty and cut-off
        self.masks = {name: LearnedMask(linear.weight) for name, linear in linears.items()}
        for name, linear in linears.items():
            parametrize.register_parametrization(linear, "weight", self.masks[name])

    def objective(self, loss: Loss) -> Objective:
        """The loss and, for "soft", the penalty; the scores learn at a rate of their own."""

        def penalized(model: nn.Module, inputs: dict[str, Tensor], rows: Tensor) -> Tensor:
            means = [part.scores.sigmoid().mean() for part in self.masks.values()]
            weight = self._settings.selection.penalty * self._share
            return loss(model, inputs, rows) + weight * torch.stack(means).mean()

        how = self._settings.selection
        scores = [part.scores for part in self.masks.values()]
        return Objective(
            penalized if how.method == "soft" else loss,
            parameters=[{"params": scores, "lr": how.learning_rate, "weight_decay": 0.0}],
            before_step=self._before_step,
        )

    def _before_step(self, step: int, steps: int) -> None:
        """Chooses the masks of a step by the scores so far."""
        span = self._settings.schedule
        self._share = scheduled("cubic", progress_of(step / steps, span.start, span.end), 0.0, 1.0)
        masks = self._masks(self._share)
        for name, part in self.masks.items():
            part.mask = masks[name]
            part.scores.grad = None  # Trainer only clears those of the model's parameters

    def finish_(self, work: PruningState) -> None:
        """Makes the layers plain again and masks them at the asked sparsity.

        Raises:
            UserError: the training was too short for scores to move.
        """
        unmoved = [name for name, part in self.masks.items() if not part.scores.any()]
        if len(unmoved) == len(self.masks):
            raise UserError(
                f"no score of {unmoved[0]} or any other layer moved in training, so there is "
                "nothing to choose by; raise pruner.training.epochs, got "
                f"{self._settings.training.epochs:g}"
            )
        if unmoved:
            work.notes["unmoved"] = unmoved
        below = [~mask for mask in self._masks(1.0).values()]
        total = sum(mask.numel() for mask in below)
        work.notes["threshold_sparsity"] = sum(int(mask.sum()) for mask in below) / total
        masks = self._choose(lambda rank: keep_highest(rank, self._settings.sparsity))
        for name, linear in self._linears.items():
            parametrize.remove_parametrizations(linear, "weight", leave_parametrized=False)
            mask = masks[name].to(linear.weight.device)
            work.mask_(name, linear, mask.T if isinstance(linear, Conv1D) else mask)

    def _masks(self, share: float) -> dict[str, Bool[Tensor, ...]]:
        """The masks that the selection's own rule makes of the scores so far."""
        how = self._settings.selection
        if how.method == "soft":
            return self._choose(lambda rank: rank.sigmoid() > share * how.cutoff)
        sparsity = share * self._settings.sparsity
        return self._choose(lambda rank: keep_with_ties(rank, sparsity))

    @torch.no_grad()
    def _choose(self, keep: Callable[[Tensor], Tensor]) -> dict[str, Bool[Tensor, ...]]:
        """The masks by a rule, of the scores with weights that are zero below all others."""
        ranks = {}
        for name, part in self.masks.items():
            weight = self._linears[name].get_parameter(ORIGINAL).to(part.scores.device)
            ranks[name] = part.scores.masked_fill(weight == 0, -torch.inf)
        return masks_together(ranks, self._settings.threshold, keep)
