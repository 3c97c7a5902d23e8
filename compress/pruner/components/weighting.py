"""Weightings of the errors of a factorized layer: four norms, in each of which an SVD is optimal.

A norm is ‖diag(rows) · (W - U·V) · columns‖ with W as [out, in]. Scales do not matter, so sums over
tokens stand for means.

- none: the plain Frobenius norm.
- input: Wang et al., "SVD-LLM", arXiv:2403.07378, section 3.1: ‖(W - U·V) Xᵀ‖ over the calibration
  tokens, with `columns` the Cholesky factor of XᵀX. Deviations: a damping on its diagonal; none of
  the paper's updates of U and V after the truncation, which are `recovery`'s work here.
- activation: Yuan et al., "ASVD", arXiv:2312.05821, section 3.2: `columns` = (mean |X_j|)^α with
  α = 0.5. Deviations: a damping; ranks come from the one rule for all layers instead of a search.
- fisher: Hsu et al., "Language model compression with weighted low-rank factorization" (FWSVD),
  arXiv:2207.00112: `rows` = √Σ_j Fisher_ij, the Fisher information being the squared gradient of
  the label loss of each row. Deviations: a damping; calibration rows, not the whole train split.
  Of a layer that the loss of no row depends on, such as the last layer's local queries in a
  Longformer that classifies by its global token, all errors count the same.

Statistics of the inputs are taken behind the blocks that are factorized already, with one block's
in memory at a time; gradients are those of the intact model, with one weight's in memory at a time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from compress.config.errors import UserError
from compress.config.fields import NotNegative, OneOf
from compress.config.settings import Settings
from compress.interfaces import StageContext
from compress.pruner.components.base import PruningState
from compress.shaping.gradients import label_losses, learning_only
from compress.transformer.blocks import weight_matrix
from compress.transformer.calibration import calibrate_linears, input_moments, input_sizes
from compress.transformer.stacks import LINEARS, Linear

ALPHA = 0.5  # ASVD, section 4.1


@dataclasses.dataclass(frozen=True)
class Norm:
    """‖diag(rows) · E · columns‖ of an error E, in double precision.

    Attributes:
        columns: lower triangular, or the diagonal alone.
    """

    rows: Float[Tensor, " out"]
    columns: Float[Tensor, "in in"] | Float[Tensor, " in"]

    def applied(self, weight: Float[Tensor, "out in"]) -> Float[Tensor, "out in"]:
        """diag(rows) · W · columns."""
        scaled = self.rows[:, None] * weight
        return scaled.mul_(self.columns) if self.columns.dim() == 1 else scaled @ self.columns

    def undone(
        self, up: Float[Tensor, "out rank"], down: Float[Tensor, "rank in"]
    ) -> tuple[Float[Tensor, "out rank"], Float[Tensor, "rank in"]]:
        """diag(rows)⁻¹ · U and V · columns⁻¹."""
        up = up / self.rows[:, None]
        if self.columns.dim() == 1:
            return up, down / self.columns
        return up, torch.linalg.solve_triangular(self.columns, down, upper=False, left=False)


# Gets each layer's name and norm, in order of execution, and may replace the layer.
Use = Callable[[str, Norm], None]
Shapes = Mapping[str, tuple[int, int]]  # [out, in] of the layers in scope, by name


def linear_named(module: nn.Module, name: str) -> Linear:
    """The Linear of this name."""
    linear = module.get_submodule(name)
    assert isinstance(linear, LINEARS)
    return linear


def plain_norm(weight: Float[Tensor, "out in"]) -> Norm:
    """Every error counts the same."""
    ones = [torch.ones(n, dtype=torch.float64, device=weight.device) for n in weight.shape]
    return Norm(*ones)


def standardizing_norm(weight: Float[Tensor, "out in"]) -> Norm:
    """Every column counts as if its root mean square were 1; one of zeros stays as it is."""
    scale = weight.detach().double().square().mean(dim=0).sqrt()
    return Norm(plain_norm(weight).rows, 1 / torch.where(scale > 0, scale, 1.0))


def input_norm(name: str, moment: Float[Tensor, "in in"], outputs: int, damping: float) -> Norm:
    """‖E·Xᵀ‖ from XᵀX = C·Cᵀ: it is ‖E·C‖.

    Raises:
        UserError: XᵀX is singular.
    """
    moment = moment.to(torch.float64, copy=True)  # the one that is factored in place
    diagonal = moment.diagonal()
    diagonal.add_(damping * float(diagonal.mean()))
    try:
        torch.linalg.cholesky(moment, out=moment)
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        raise UserError(
            f"the inputs of {name} span too little with pruner.damping={damping:g}; raise it, say "
            "to 0.1, or raise task.calibration_samples"
        ) from error
    return Norm(torch.ones(outputs, dtype=torch.float64, device=moment.device), moment)


def damped_importance(
    name: str, importance: Float[Tensor, " n"], damping: float
) -> Float[Tensor, " n"]:
    """Importances plus a share of their mean, so that nothing counts for nothing.

    Raises:
        UserError: something does.
    """
    damped = importance.double() + damping * float(importance.double().mean())
    if not bool((damped > 0).all()):
        raise UserError(
            f"parts of {name} matter to no calibration row with pruner.damping={damping:g}; raise "
            "it, say to 0.1, or raise task.calibration_samples"
        )
    return damped


def weigh_plainly(
    work: PruningState, shapes: Shapes, ctx: StageContext, damping: float, use: Use
) -> None:
    """The plain norm of every layer."""
    for name in shapes:
        use(name, plain_norm(weight_matrix(linear_named(work.module, name))))


def weigh_by_inputs(
    work: PruningState, shapes: Shapes, ctx: StageContext, damping: float, use: Use
) -> None:
    """The norm of each layer's outputs on the calibration tokens."""

    def weigh(name: str, moment: Float[Tensor, "in in"]) -> None:
        outputs, _ = shapes[name]
        use(name, input_norm(name, moment, outputs, damping))

    rows = ctx.data.calibration
    calibrate_linears(work.module, work.tokenizer, rows, shapes, input_moments, weigh)


def weigh_by_activations(
    work: PruningState, shapes: Shapes, ctx: StageContext, damping: float, use: Use
) -> None:
    """The norm in which each column counts by the mean size of its input, to the power α."""

    def weigh(name: str, size: Float[Tensor, " in"]) -> None:
        columns = damped_importance(name, size, damping) ** ALPHA
        weight = weight_matrix(linear_named(work.module, name))
        use(name, Norm(plain_norm(weight).rows, columns))

    rows = ctx.data.calibration
    calibrate_linears(work.module, work.tokenizer, rows, shapes, input_sizes, weigh)


def weigh_by_fisher(
    work: PruningState, shapes: Shapes, ctx: StageContext, damping: float, use: Use
) -> None:
    """The norm in which each row counts by its Fisher information, to the power ½."""
    totals = fisher_rows(work, shapes, ctx)
    for name in shapes:
        weight = weight_matrix(linear_named(work.module, name))
        if not totals[name].any():
            use(name, plain_norm(weight))  # no error of it counts, so none counts more
            continue
        rows = damped_importance(name, totals[name], damping).sqrt()
        use(name, Norm(rows, plain_norm(weight).columns))


WEIGHTINGS: dict[str, Callable[[PruningState, Shapes, StageContext, float, Use], None]] = {
    "none": weigh_plainly,
    "input": weigh_by_inputs,
    "activation": weigh_by_activations,
    "fisher": weigh_by_fisher,
}


@dataclass(frozen=True, kw_only=True)
class Weighting(Settings):
    """Whose errors a factorization keeps small.

    Attributes:
        method: "none", "input", "activation" or "fisher".
        damping: added to the method's statistic, as a share of its mean.
    """

    method: Annotated[str, OneOf(WEIGHTINGS)]
    damping: NotNegative


def fisher_rows(
    work: PruningState, shapes: Shapes, ctx: StageContext
) -> dict[str, Float[Tensor, " out"]]:
    """Σ_j (∂L/∂W_ij)² of each layer's output rows, summed over the calibration rows.

    L is the label loss of one row. A gradient is freed as soon as it is counted.
    """
    linears = {name: linear_named(work.module, name) for name in shapes}
    device = work.module.device
    totals = {name: torch.zeros(shape[0], device=device) for name, shape in shapes.items()}

    def count(name: str, weight: Tensor) -> None:
        assert weight.grad is not None, "torch calls this once the gradient is there"
        squares = weight.grad.float().square()
        totals[name] += squares.sum(dim=0 if isinstance(linears[name], Conv1D) else 1)
        weight.grad = None

    with ExitStack() as stack:
        weights = [linear.weight for linear in linears.values()]
        stack.enter_context(learning_only(work.module, weights))
        for name, weight in zip(linears, weights, strict=True):
            hook = weight.register_post_accumulate_grad_hook(partial(count, name))
            stack.enter_context(hook)
        for loss in label_losses(work.module, work.tokenizer, ctx):
            loss.backward()  # type: ignore[no-untyped-call]
    return totals
