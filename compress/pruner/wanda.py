"""Wanda: prune by weight magnitude times input norm, row by row, without retraining.

Sun, Liu, Bair, Kolter, "A Simple and Effective Pruning Approach for Large Language Models",
arXiv:2306.11695. Like the reference implementation, layer by layer: the norms of a layer are taken
after the layers before it were pruned. Deviations: the number of zeros in a row is the nearest
whole number instead of the one below; each calibration row is a text of the task at its own length
instead of 2,048 tokens; pooler and classifier are left alone.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Bool, Float
from torch import Tensor, nn

from compress.blocks import block_linears
from compress.calibrate import input_norms, walk_blocks
from compress.distillation import Distillation
from compress.interfaces import CompressedModel, Pruner, StageContext
from compress.pruner.masks import (
    check_pattern,
    check_pattern_fits,
    keep_highest_per_row,
    keep_pattern,
    masked,
)
from compress.settings import check_fraction, parse_pattern

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class Wanda(Pruner):
    """Zeroes, in each output row, the weights whose score is smallest.

    Attributes:
        sparsity: fraction of each row set to zero, in [0, 1).
        pattern: N:M, such as "2:4": the N best of every M consecutive weights stay. Null for
            none; with one, `sparsity` must be 1 - N/M.
        recovery: training after pruning, with the mask held.
    """

    sparsity: float
    pattern: str | None
    recovery: Distillation

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ConfigError: one is outside what it may be, or two contradict each other.
        """
        super().__post_init__()
        check_fraction(self, "sparsity")
        check_pattern(self, self.pattern, self.sparsity)

    def check(self, skeleton: PreTrainedModel) -> None:
        """Raises a ConfigError if the pattern does not fit a layer."""
        block_linears(skeleton)
        check_pattern_fits(self.pattern, skeleton)

    def prune(self, model: CompressedModel, ctx: StageContext) -> CompressedModel:
        """The pruned model."""
        masks: dict[str, Tensor] = {}

        def visit(name: str, block: nn.Module, run: Callable[[], Iterator[None]]) -> None:
            for part, norm in input_norms(block, run).items():
                weight = block.get_parameter(f"{part}.weight")
                mask = self._mask(wanda_score(weight, norm))
                weight.mul_(mask)
                masks[f"{name}.{part}"] = mask.cpu()

        scratch = copy.deepcopy(model.module).to(ctx.device.torch_device)
        walk_blocks(scratch, model.tokenizer, ctx.data.calibration, visit)
        return masked(self, model, masks, self.recovery, ctx)

    def _mask(self, score: Float[Tensor, "out in"]) -> Bool[Tensor, "out in"]:
        if self.pattern is None:
            return keep_highest_per_row(score, self.sparsity)
        return keep_pattern(score, *parse_pattern("Wanda.pattern", self.pattern))


def wanda_score(
    weight: Float[Tensor, "out in"], input_norm: Float[Tensor, " in"]
) -> Float[Tensor, "out in"]:
    """Importance |W_ij| · ‖X_j‖₂ (equation 1)."""
    return weight.abs() * input_norm
