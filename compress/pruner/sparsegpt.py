"""SparseGPT: prune column by column, and update the columns to the right to compensate.

Frantar & Alistarh, "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot",
arXiv:2301.00774, algorithm 1. As in the reference implementation: H = XᵀX over the calibration
tokens plus a damping on its diagonal; the mask is chosen anew for every block of columns or, under
an N:M pattern, for every group of M columns, on the weights as the columns before it left them (the
paper's "Extension to Semi-Structured Sparsity"); layers are pruned in order, each on the outputs of
the pruned ones before it, with one layer's Hessians in memory at a time. Deviations: the number of
zeros in a block of columns is the nearest whole number instead of the one below; a feature that no
calibration token uses keeps a Hessian of its damping alone, instead of having its weights zeroed
outside the asked sparsity; each calibration row is a text of the task at its own length instead of
2,048 tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Bool, Float
from pydantic.dataclasses import dataclass
from torch import Tensor

from compress.config.errors import ConfigError, UserError
from compress.config.fields import NotNegative, PositiveInt
from compress.interfaces import StageContext
from compress.pruner.components.base import PruningState
from compress.pruner.components.outliers import OutlierWeighed
from compress.transformer.blocks import scoped_linears, weight_matrix
from compress.transformer.calibration import calibrate_linears, input_moments
from compress.transformer.second_order import inverse_factor_


@dataclass(frozen=True, kw_only=True)
class SparseGpt(OutlierWeighed):
    """Zeroes the weights with the least loss, and updates the others to compensate.

    Attributes:
        block_size: columns per block, whose updates are applied to the columns to the right in one
            product (128 in the paper). Without a pattern, each block has the requested sparsity;
            with one, it must be a multiple of M and changes no mask.
        damping: added to the Hessian's diagonal, as a share of its mean (0.01 in the paper).
    """

    # A pattern's mask is chosen group by group, and expected; layers have their own arguments.
    version = 5

    block_size: PositiveInt
    damping: NotNegative

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        _, group = self.groups() or (1, 1)
        if self.block_size % group:
            raise ConfigError(
                f"SparseGpt.block_size must be a multiple of {group} for "
                f"pattern={self.pattern}, got {self.block_size}"
            )

    def prune_(self, work: PruningState, ctx: StageContext) -> None:
        """Masks and moves the weights in scope; a UserError where a Hessian is singular."""
        linears = scoped_linears(work.module, self.scope)
        sparsities = self.sparsities(work, ctx, linears)
        _, together = self.groups() or (1, self.block_size)

        def mask_(name: str, moment: Float[Tensor, "in in"]) -> None:
            weight = weight_matrix(linears[name])
            try:
                inverse = inverse_factor_(moment, self.damping)
            except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
                raise UserError(
                    f"the Hessian of {name} is singular with pruner.damping={self.damping:g}; "
                    "set it to about 0.1, or raise task.calibration_samples"
                ) from error
            kept = partial(self.kept, sparsity=sparsities[name])
            updated, mask = prune_columns(weight, inverse, self.block_size, together, kept)
            weight.copy_(updated)
            work.mask_(name, linears[name], mask)

        rows = ctx.data.calibration
        calibrate_linears(work.module, work.tokenizer, rows, linears, input_moments, mask_)


def prune_columns(
    weight: Float[Tensor, "out in"],
    factor: Float[Tensor, "in in"],
    block_size: int,
    chosen_columns: int,
    choose: Callable[[Float[Tensor, "out columns"]], Bool[Tensor, "out columns"]],
) -> tuple[Float[Tensor, "out in"], Bool[Tensor, "out in"]]:
    """Algorithm 1: the updated weights, and the mask of those that stay.

    Args:
        weight: stays as it is.
        factor: from `inverse_factor_`.
        block_size: B, columns whose updates reach those behind the block in one product.
        chosen_columns: B_s, columns whose mask is chosen together; divides `block_size`.
        choose: from the scores w² / [H⁻¹]_ii of these columns to their mask.
    """
    left = weight.to(factor.dtype, copy=True)  # 16 bits are too few for the sums of updates
    mask = torch.ones_like(weight, dtype=torch.bool)
    for start in range(0, weight.shape[1], block_size):
        end = min(start + block_size, weight.shape[1])
        errors = torch.zeros_like(left[:, start:end])
        for i in range(start, end):
            if (i - start) % chosen_columns == 0:
                group = slice(i, min(i + chosen_columns, end))
                mask[:, group] = choose((left[:, group] / factor.diagonal()[group]) ** 2)
            error = torch.where(mask[:, i], 0.0, left[:, i] / factor[i, i])
            left[:, i:end] -= torch.outer(error, factor[i, i:end])
            errors[:, i - start] = error
        left[:, end:] -= errors @ factor[start:end, end:]
    return (left * mask).to(weight.dtype), mask
