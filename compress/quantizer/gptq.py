"""GPTQ: round column by column, and update the columns to the right to compensate.

Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers",
arXiv:2210.17323, algorithm 1. As in the reference implementation: H = XᵀX over the calibration
tokens plus a damping on its diagonal; a group's grid is chosen when its first column is reached, on
the weights as the columns before it left them, or, with `act_order`, for all groups at first
(`static_groups` there), and columns are then rounded in order of falling diagonal of H; layers are
rounded in order, each on the outputs of the rounded ones before it, with one layer's Hessians in
memory at a time. Deviations:

- A group's grid sees the updates of all columns before it; there, those of its own block of columns
  come after the block.
- With `clip`, a group's grid is that of the shrunk range with the least Σ H_jj (W_j − Ŵ_j)². The
  reference implementation has a search of ranges as well (`mse`), without H and off by default. On
  SmolLM2-135M with 4 bits it takes half of what is lost (docs/language.md).
- Symmetric grids have the signed scale of least squared error of `compress.transformer.packing`.
- A feature that no calibration token uses keeps its weights.
- A weight that is exactly zero, as pruned ones are, stays zero (as in SparseGPT's joint rounding).
- Each calibration row is a text of the task at its own length instead of 2,048 tokens.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from pydantic.dataclasses import dataclass
from torch import Tensor

from compress.config.errors import UserError
from compress.config.fields import NotNegative, PositiveInt
from compress.quantizer.components.calibrated import CalibratedFormat
from compress.quantizer.components.clipping import clipped_fit
from compress.quantizer.components.grouped import GroupedLinear, GroupedWeights, float_weight
from compress.transformer.blocks import Linear
from compress.transformer.calibration import Run, input_moments
from compress.transformer.packing import Grid
from compress.transformer.second_order import inverse_factor_


@dataclass(frozen=True, kw_only=True)
class Gptq(GroupedWeights, CalibratedFormat):
    """Rounds the weights of each layer for the least error of its outputs.

    Attributes:
        symmetric: whether the middle code is zero and scales are signed; else each group has a zero
            point.
        act_order: whether columns are rounded in order of falling second moment of their inputs.
        clip: whether to shrink the range of groups where that lowers Σ H_jj (W_j − Ŵ_j)².
        block_size: columns per block, whose updates reach those behind it in one product (128 in
            the paper); changes no result but for the order of sums.
        damping: added to the Hessian's diagonal, as a share of its mean (0.01 in the paper).
    """

    symmetric: bool
    act_order: bool
    clip: bool
    block_size: PositiveInt
    damping: NotNegative

    @property
    def symmetric_grid(self) -> bool:  # type: ignore[override]
        """As asked."""
        return self.symmetric

    def gather(self, linears: Mapping[str, Linear], run: Run) -> dict[str, Tensor]:
        """XᵀX of each Linear."""
        return dict(input_moments(linears, run))

    def choose(self, name: str, linear: Linear, statistic: Tensor) -> GroupedLinear:
        """The rounded layer."""
        try:
            codes, scale, zero = round_columns(
                float_weight(linear), statistic, self.grid,
                damping=self.damping, block_size=self.block_size, act_order=self.act_order,
                clip=self.clip,
            )  # fmt: skip
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            raise UserError(
                f"the Hessian of {name} is singular with quantizer.damping={self.damping:g}; "
                "set it to about 0.1, or raise task.calibration_samples"
            ) from error
        return GroupedLinear.of_codes(linear, self.grid, codes, scale, zero)


def round_columns(
    weight: Float[Tensor, "out in"],
    moment: Float[Tensor, "in in"],
    grid: Grid,
    *,
    damping: float,
    block_size: int,
    act_order: bool,
    clip: bool,
) -> tuple[Int[Tensor, "out in"], Float[Tensor, "out groups"], Int[Tensor, "out groups"]]:
    """Algorithm 1: codes, scales and zero points.

    Args:
        weight: float32; stays as it is.
        moment: XᵀX; is overwritten.
        grid: of each group.
        damping: a share of the mean of the moment's diagonal.
        block_size: columns whose updates reach those behind the block in one product.
        act_order: whether columns go in order of falling diagonal.
        clip: whether grids are of shrunk ranges where that is better.

    Raises:
        torch.linalg.LinAlgError: the Hessian is not positive definite.
    """
    columns, importance = weight.shape[1], moment.diagonal().clone()
    order = torch.arange(columns, device=weight.device)
    if act_order:
        order = moment.diagonal().argsort(descending=True, stable=True)
        moment = moment[order][:, order]
    factor, size = inverse_factor_(moment, damping), grid.group_size
    places = order.tolist()
    left, held = weight[:, order].clone(), (weight == 0)[:, order]

    def fit(part: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        return clipped_fit(part, seen, grid) if clip else grid.fit(part)

    scale, zero = fit(weight, importance)
    codes = torch.empty_like(weight, dtype=torch.uint8)
    for start in range(0, columns, block_size):
        end = min(start + block_size, columns)
        errors = torch.zeros_like(left[:, start:end])
        for i in range(start, end):
            group = places[i] // size
            if not act_order and i % size == 0:
                # Updates of this block have reached its own columns alone.
                now = left[:, i : i + size].clone()
                now[:, end - i :] -= errors @ factor[start:end, end : i + size]
                fitted = fit(now, importance[i : i + size])
                scale[:, group], zero[:, group] = (found[:, 0] for found in fitted)
            s, z = scale[:, group].float(), zero[:, group]
            code = ((left[:, i] / s).round() + z).clamp(0, grid.largest)
            code = torch.where(held[:, i], z.to(code.dtype), code)
            error = (left[:, i] - (code - z) * s) / factor[i, i]
            left[:, i:end] -= torch.outer(error, factor[i, i:end])
            errors[:, i - start] = error
            codes[:, places[i]] = code.to(torch.uint8)
        left[:, end:] -= errors @ factor[start:end, end:]
    return codes, scale, zero
