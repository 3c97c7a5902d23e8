"""Importance of heads and neurons, computed on the unpruned model.

- l1: Li, Kadav, Durdanovic, Samet, Graf, "Pruning Filters for Efficient ConvNets",
  arXiv:1608.08710: the sum of a filter's absolute weights. Deviation: the weights that read the
  unit count as well as those that make it, because both go. Biases do not count.
- random: the control.
- taylor: Michel, Levy, Neubig, "Are Sixteen Heads Really Better than One?", arXiv:1905.10650,
  equation 2: E_x |∂L(x)/∂ξ| for a gate ξ = 1 that a unit's output is multiplied with, where x is a
  row. A row's gradient is the sum over its tokens, so tokens may cancel and rows may not: absolute
  values are taken per row and averaged over rows. The code in circulation computes other scores,
  which can rank heads differently. That of the paper's authors (BERT and fairseq) takes absolute
  values per token, Σ_x Σ_t |A_t · ∂L/∂A_t| / tokens, so that nothing cancels and long rows count
  more. The example of transformers (run_bertology.py) takes them per batch, of the mean loss of its
  rows, so that rows cancel unless the batch is one row, and divides by tokens. The paper does so
  for heads; for neurons it is the gate of Molchanov et al., "Importance Estimation for Neural
  Network Pruning", arXiv:1906.10771. Deviation from the latter: absolute values instead of squares,
  per row as in its variant with full gradients (FG).
- activation: ‖X_u · W_uᵀ‖, the size of what a unit adds to the residual stream over all calibration
  tokens. For one neuron it is ‖X_j‖₂ · ‖W_:j‖₂, Wanda's score (arXiv:2306.11695) of its whole
  column. Minitron (arXiv:2407.14679) ranks by the size of X_u alone; here W_u counts as well.

All rows are calibration rows, each run alone, so padding enters no score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from compress.interfaces import StageContext
from compress.shaping.gradients import label_losses, learning_only
from compress.transformer.blocks import Block, Units, shape_of, weight_matrix
from compress.transformer.calibration import Run, Unit, calibrate_layerwise

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.interfaces import Processor

# One per layer, first to last.
Sites = Sequence[tuple[Block, Units]]
Scores = list[Float[Tensor, " units"]]


@torch.no_grad()
def l1_importance(
    module: PreTrainedModel, tokenizer: Processor, sites: Sites, ctx: StageContext
) -> Scores:
    """The sum of |W| over the rows that make each unit and the columns that read it."""
    scores = []
    for block, units in sites:
        reader = weight_matrix(block.projection(units.reader))
        score = row_mass(reader.T, units.columns)
        for path, rows in units.rows.items():
            score = score + row_mass(weight_matrix(block.projection(path)), rows)
        scores.append(score)
    return scores


def random_importance(
    module: PreTrainedModel, tokenizer: Processor, sites: Sites, ctx: StageContext
) -> Scores:
    """Uniform in [0, 1), drawn from the run's seed."""
    generator = torch.Generator().manual_seed(ctx.seed)
    return [torch.rand(units.count, generator=generator) for _, units in sites]


def taylor_importance(
    module: PreTrainedModel, tokenizer: Processor, sites: Sites, ctx: StageContext
) -> Scores:
    """Mean over rows of |∂L/∂ξ|, with L the label loss of the row.

    Only the gates have gradients, so no gradient of a weight is in memory.
    """
    device = module.device
    gates = [
        torch.ones(shape_of(block.projection(units.reader))[1], device=device, requires_grad=True)
        for block, units in sites
    ]
    totals = [torch.zeros(units.count, device=device) for _, units in sites]
    with learning_only(module), _gated(sites, gates):
        for loss in label_losses(module, tokenizer, ctx):
            slopes = torch.autograd.grad(loss, gates)
            for total, slope, (_, units) in zip(totals, slopes, sites, strict=True):
                total += gate_saliency(slope, units.columns)
    return [total / len(ctx.data.calibration) for total in totals]


def activation_importance(
    module: PreTrainedModel, tokenizer: Processor, sites: Sites, ctx: StageContext
) -> Scores:
    """‖X_u · W_uᵀ‖ over all calibration tokens, with one layer's inputs in memory at a time."""
    by_name = {block.name: (block, units) for block, units in sites}
    scores: Scores = []

    def visit(layer: Unit, run: Run) -> None:
        block, units = by_name[layer.name]
        reader = block.projection(units.reader)
        moments = unit_moments(reader, units.columns, run)
        scores.append(contribution(weight_matrix(reader), moments, units.columns))

    calibrate_layerwise(module, tokenizer, ctx.data.calibration, visit)
    return scores


Importance: TypeAlias = Callable[["PreTrainedModel", "Processor", Sites, StageContext], Scores]
IMPORTANCES: dict[str, Importance] = {
    "l1": l1_importance,
    "random": random_importance,
    "taylor": taylor_importance,
    "activation": activation_importance,
}


def row_mass(
    weight: Float[Tensor, "out in"], rows: Int[Tensor, "units n"]
) -> Float[Tensor, " units"]:
    """Σ |W_ij| over the rows of each unit."""
    return weight.abs().sum(dim=1)[rows].sum(dim=1)


def gate_saliency(
    slope: Float[Tensor, " in"], columns: Int[Tensor, "units n"]
) -> Float[Tensor, " units"]:
    """|∂L/∂ξ_u| of one row: the slopes of a unit's columns share a gate, so they add up first."""
    return slope[columns].sum(dim=1).abs()


def contribution(
    weight: Float[Tensor, "out in"],
    moments: Float[Tensor, "units n n"],
    columns: Int[Tensor, "units n"],
) -> Float[Tensor, " units"]:
    """√tr(W_u · M_u · W_uᵀ) = ‖X_u · W_uᵀ‖, with M_u = X_uᵀ X_u."""
    parts = weight[:, columns].float()
    grams = torch.einsum("oui,ouj->uij", parts, parts)
    # Rounding can leave a sum that should be zero just below it.
    return (grams * moments).sum(dim=(1, 2)).clamp(min=0).sqrt()


def unit_moments(
    reader: nn.Module, columns: Int[Tensor, "units n"], run: Run
) -> Float[Tensor, "units n n"]:
    """X_uᵀ X_u of what a projection reads of each unit: no products between units."""
    totals = torch.zeros(len(columns), columns.shape[1], columns.shape[1])

    def add(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal totals
        parts = inputs[0].reshape(-1, inputs[0].shape[-1]).float()[:, columns]
        totals = totals.to(parts.device) + torch.einsum("tui,tuj->uij", parts, parts)

    with reader.register_forward_pre_hook(add):
        for _ in run():
            pass
    return totals


@contextmanager
def _gated(sites: Sites, gates: Sequence[Float[Tensor, " in"]]) -> Iterator[None]:
    """Multiplies the inputs of each reader by its gate."""

    def scale(gate: Tensor, _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Any, ...]:
        return (inputs[0] * gate.to(inputs[0].dtype), *inputs[1:])

    with ExitStack() as hooks:
        for (block, units), gate in zip(sites, gates, strict=True):
            reader = block.projection(units.reader)
            hooks.enter_context(reader.register_forward_pre_hook(partial(scale, gate)))
        yield
