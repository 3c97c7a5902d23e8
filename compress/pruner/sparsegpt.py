"""SparseGPT: prune column by column, and let the columns to the right make up for each loss.

Frantar & Alistarh, "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot",
arXiv:2301.00774, algorithm 1. As in the reference implementation: H = XᵀX over the calibration
tokens plus a damping on its diagonal; the mask is chosen anew for every block of columns; layers
are pruned in order, each on the outputs of the pruned ones before it, with one layer's Hessians in
memory at a time. Deviations: the number of zeros in a block of columns is the nearest whole number
instead of the one below; a feature that no calibration token uses keeps a Hessian of its damping
alone, instead of having its weights zeroed outside the asked sparsity; each calibration row is a
text of the task at its own length instead of 2,048 tokens.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from compress.blocks import block_linears
from compress.calibrate import input_moments, walk_blocks
from compress.distillation import Distillation
from compress.interfaces import CompressedModel, Pruner, StageContext
from compress.pruner.masks import (
    check_pattern,
    check_pattern_fits,
    keep_highest,
    keep_pattern,
    masked,
)
from compress.settings import (
    ConfigError,
    UserError,
    check_fraction,
    check_not_negative,
    check_positive,
    parse_pattern,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class SparseGpt(Pruner):
    """Zeroes the weights that cost least, and moves the others to make up for them.

    Attributes:
        sparsity: fraction of each block of columns set to zero, in [0, 1).
        pattern: N:M, such as "2:4": the N best of every M consecutive weights stay. Null for
            none; with one, `sparsity` must be 1 - N/M.
        block_size: columns whose mask is chosen together (128 in the paper); with a pattern a
            multiple of M.
        damping: added to the Hessian's diagonal, as a share of its mean (0.01 in the paper).
        recovery: training after pruning, with the mask held.
    """

    sparsity: float
    pattern: str | None
    block_size: int
    damping: float
    recovery: Distillation

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ConfigError: one is outside what it may be, or two contradict each other.
        """
        super().__post_init__()
        check_fraction(self, "sparsity")
        check_positive(self, "block_size")
        check_not_negative(self, "damping")
        check_pattern(self, self.pattern, self.sparsity)
        if self.pattern:
            _, group = parse_pattern("SparseGpt.pattern", self.pattern)
            if self.block_size % group:
                raise ConfigError(
                    f"SparseGpt.block_size must be a multiple of {group} for "
                    f"pattern={self.pattern}, got {self.block_size}"
                )

    def check(self, skeleton: PreTrainedModel) -> None:
        """Raises a ConfigError if the pattern does not fit a layer."""
        block_linears(skeleton)
        check_pattern_fits(self.pattern, skeleton)

    def prune(self, model: CompressedModel, ctx: StageContext) -> CompressedModel:
        """The pruned model.

        Raises:
            UserError: a layer's Hessian is singular; says which, and what damping to raise.
        """
        masks: dict[str, Tensor] = {}
        weights: dict[str, Tensor] = {}

        def visit(name: str, block: nn.Module, run: Callable[[], Iterator[None]]) -> None:
            for part, moment in input_moments(block, run).items():
                weight = block.get_parameter(f"{part}.weight")
                inverse = self._inverse_factor(f"{name}.{part}", moment)
                updated, mask = prune_columns(weight, inverse, self.block_size, self._mask)
                weight.copy_(updated)
                masks[f"{name}.{part}"], weights[f"{name}.{part}"] = mask.cpu(), updated.cpu()

        scratch = copy.deepcopy(model.module).to(ctx.device.torch_device)
        walk_blocks(scratch, model.tokenizer, ctx.data.calibration, visit)
        return masked(self, model, masks, self.recovery, ctx, weights)

    def _inverse_factor(self, name: str, moment: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
        try:
            return inverse_factor(moment, self.damping)
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            raise UserError(
                f"the Hessian of {name} is singular with pruner.damping={self.damping:g}; raise "
                "it, say to 0.1, or raise task.calibration_samples"
            ) from error

    def _mask(self, score: Float[Tensor, "out columns"]) -> Bool[Tensor, "out columns"]:
        if self.pattern is None:
            return keep_highest(score, self.sparsity)
        return keep_pattern(score, *parse_pattern("SparseGpt.pattern", self.pattern))


def inverse_factor(moment: Float[Tensor, "n n"], damping: float) -> Float[Tensor, "n n"]:
    """U of H⁻¹ = UᵀU, upper triangular, with H = moment + damping · mean(diagonal) · I.

    Row i of U, from its diagonal on, is row i of the inverse Hessian of the columns from i on,
    divided by √[H⁻¹]_ii: all the inverses of the algorithm in one factor (section 3.3).

    Raises:
        torch.linalg.LinAlgError: H is not positive definite.
    """
    diagonal = moment.diagonal()
    hessian = moment + torch.diag(torch.full_like(diagonal, damping * float(diagonal.mean())))
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
    factor: Tensor = torch.linalg.cholesky(inverse, upper=True)
    return factor


def prune_columns(
    weight: Float[Tensor, "out in"],
    factor: Float[Tensor, "in in"],
    block_size: int,
    choose: Callable[[Float[Tensor, "out columns"]], Bool[Tensor, "out columns"]],
) -> tuple[Float[Tensor, "out in"], Bool[Tensor, "out in"]]:
    """Algorithm 1: the updated weights, and the mask of those that stay.

    Args:
        weight: stays as it is.
        factor: from `inverse_factor`.
        block_size: columns whose mask is chosen together.
        choose: from the scores w² / [H⁻¹]_ii of a block's columns to its mask.
    """
    left = weight.clone()
    mask = torch.ones_like(weight, dtype=torch.bool)
    for start in range(0, weight.shape[1], block_size):
        end = min(start + block_size, weight.shape[1])
        inner = factor[start:end, start:end]
        mask[:, start:end] = choose((left[:, start:end] / inner.diagonal()) ** 2)
        errors = torch.zeros_like(left[:, start:end])
        for i in range(end - start):
            column = left[:, start + i]
            error = torch.where(mask[:, start + i], 0.0, column / inner[i, i])
            left[:, start + i : end] -= torch.outer(error, inner[i, i:])
            errors[:, i] = error
        left[:, end:] -= errors @ factor[start:end, end:]
    return left * mask, mask
