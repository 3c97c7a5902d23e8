"""Wanda: prune by weight magnitude times input norm, row by row, without retraining.

Sun, Liu, Bair, Kolter, "A Simple and Effective Pruning Approach for Large Language Models",
arXiv:2306.11695. Like the reference implementation, layer by layer: the norms of a layer are taken
after the layers before it were pruned. Deviations: the number of zeros in a row is the nearest
whole number instead of the one below; each calibration row is a text of the task at its own length
instead of 2,048 tokens; pooler and classifier are left alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from compress.config.settings import parse_pattern
from compress.interfaces import StageContext
from compress.pruner.components.masks import keep_highest_per_row, keep_pattern
from compress.pruner.components.reducer import MaskPruner, Workpiece
from compress.transformer.blocks import scoped_linears, weight_matrix
from compress.transformer.calibration import input_norms, walk_linears


@dataclass(frozen=True, kw_only=True)
class Wanda(MaskPruner):
    """Zeroes, in each output row, the weights whose score is smallest."""

    version = 4  # the history claims the pattern; every layer has its own masks and positions

    def reduce_(self, work: Workpiece, ctx: StageContext) -> None:
        """Masks the layers in scope, first to last, each behind the pruned ones before it."""
        linears = scoped_linears(work.module, self.scope)

        def mask_(name: str, norm: Float[Tensor, " in"]) -> None:
            mask = self._mask(wanda_score(weight_matrix(linears[name]), norm))
            work.mask_(name, linears[name], mask)

        rows = ctx.data.calibration
        walk_linears(work.module, work.tokenizer, rows, linears, input_norms, mask_)

    def _mask(self, score: Float[Tensor, "out in"]) -> Bool[Tensor, "out in"]:
        if self.pattern is None:
            return keep_highest_per_row(score, self.sparsity)
        return keep_pattern(score, *parse_pattern("Wanda.pattern", self.pattern))


def wanda_score(
    weight: Float[Tensor, "out in"], input_norm: Float[Tensor, " in"]
) -> Float[Tensor, "out in"]:
    """Importance |W_ij| · ‖X_j‖₂ (equation 1)."""
    return weight.abs() * input_norm
