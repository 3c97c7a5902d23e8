"""AWQ: scale up the input channels that carry large activations, so that they lose less.

Lin et al., "AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration",
arXiv:2306.00978, equation 4: W·diag(s) is rounded and its product divided by s, with s = mean|X|^a,
normalized by √(max s · min s), and a of a grid of 20 values from 0 on, such that the error of the
outputs is least; then each group's range is shrunk, by at most a half, as far as that lowers the
error further (`auto_clip` there). As in the reference implementation, the error is that of outputs
on calibration tokens, here ‖(W − Ŵ)X‖² from XXᵀ. Deviations:

- Each Linear has its own s and its own error; there, the ones that read the same activations share
  s, which moves into the norm or Linear before them, and the error is that of an attention or an
  MLP. Here s stays with the codes, two bytes for each column, so that it works on any model.
- Ranges of all layers are searched, those of queries and keys included; a clipped range of a group
  counts only if the layer's error is lower with it.
- Symmetric grids have the signed scale of least squared error of `compress.transformer.packing`.
- Layers are rounded on the outputs of the rounded ones before them, as with GPTQ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic.dataclasses import dataclass
from torch import Tensor

from compress.quantizer.components.calibrated import CalibratedFormat, output_error
from compress.quantizer.components.clipping import shrunk
from compress.quantizer.components.grouped import GroupedLinear, GroupedWeights, float_weight
from compress.transformer.blocks import Linear
from compress.transformer.calibration import Moments, Run, input_moments_and_sizes
from compress.transformer.packing import Grid, decode_groups, in_groups

EXPONENTS = tuple(step / 20 for step in range(20))
LEAST = 1e-4  # of a scale


class Rounded(NamedTuple):
    """Codes of a weight times `columns`, and the error of its outputs."""

    error: float
    codes: Int[Tensor, "out in"]
    scale: Float[Tensor, "out groups"]
    zero: Int[Tensor, "out groups"]
    columns: Float[Tensor, " in"]


@dataclass(frozen=True, kw_only=True)
class Awq(GroupedWeights, CalibratedFormat):
    """Rounds weights that were scaled by the size of what they are multiplied with.

    Attributes:
        symmetric: whether the middle code is zero and scales are signed; else each group has a zero
            point.
        clip: whether to shrink the range of groups where that lowers the error.
    """

    symmetric: bool
    clip: bool

    @property
    def symmetric_grid(self) -> bool:  # type: ignore[override]
        """As asked."""
        return self.symmetric

    def gather(self, linears: Mapping[str, Linear], run: Run) -> dict[str, Moments]:
        """XᵀX and Σ|X_j| of each Linear."""
        return input_moments_and_sizes(linears, run)

    def choose(self, name: str, linear: Linear, statistic: Moments) -> GroupedLinear:
        """The rounded layer."""
        found = scaled_codes(float_weight(linear), statistic, self.grid, clip=self.clip)
        return GroupedLinear.of_codes(linear, self.grid, *found[1:])


def scaled_codes(
    weight: Float[Tensor, "out in"], statistic: Moments, grid: Grid, *, clip: bool
) -> Rounded:
    """The scales, of those tried, with the least error; with scales of 1 it is that of rounding."""
    moment = statistic.moment
    best = min(
        (_rounded(weight, weight, columns, moment, grid) for columns in _columns(statistic.sizes)),
        key=lambda each: each.error,
    )
    if clip:
        clipped = _clipped(weight * best.columns.float(), best.columns.float(), moment, grid)
        best = min(
            best, _rounded(weight, clipped / best.columns.float(), best.columns, moment, grid),
            key=lambda each: each.error,
        )  # fmt: skip
    return best


def _columns(sizes: Float[Tensor, " in"]) -> Iterator[Float[Tensor, " in"]]:
    """What to multiply the columns by, for each exponent, in bfloat16."""
    for exponent in EXPONENTS:
        columns = (sizes**exponent).clamp_min(LEAST)
        columns = columns / (columns.max() * columns.min()).sqrt()
        yield columns.to(torch.bfloat16)


def _rounded(
    weight: Float[Tensor, "out in"],
    fitted: Float[Tensor, "out in"],
    columns: Float[Tensor, " in"],
    moment: Float[Tensor, "in in"],
    grid: Grid,
) -> Rounded:
    """A weight times `columns` on the grids that fit another weight times `columns`."""
    scale, zero = grid.fit(fitted * columns.float())
    codes = grid.encode(weight * columns.float(), scale, zero)
    made = decode_groups(codes, scale, zero, grid.group_size) / columns.float()
    return Rounded(output_error(weight - made, moment), codes, scale, zero, columns)


def _clipped(
    scaled: Float[Tensor, "out in"],
    columns: Float[Tensor, " in"],
    moment: Float[Tensor, "in in"],
    grid: Grid,
) -> Float[Tensor, "out in"]:
    """The weight with each group cut off where that lowers its own part of the error."""
    groups = in_groups(scaled, grid.group_size)
    blocks = _blocks(moment / torch.outer(columns, columns), grid.group_size)
    largest = groups.abs().amax(dim=-1, keepdim=True)
    best, least = groups, torch.full(groups.shape[:-1], torch.inf, device=groups.device)
    for tried in shrunk(scaled, -largest, largest, grid):
        error = torch.einsum("ogi,gij,ogj->og", tried.off, blocks, tried.off)
        best = torch.where((error < least)[..., None], tried.cut, best)
        least = torch.minimum(error, least)
    return best.flatten(-2)[..., : scaled.shape[-1]]


def _blocks(moment: Float[Tensor, "in in"], group_size: int) -> Float[Tensor, "groups size size"]:
    """The blocks on a moment's diagonal, one a group; zero where the last one is padded."""
    rows = in_groups(in_groups(moment, group_size).movedim(0, -1), group_size)
    return rows.diagonal(dim1=0, dim2=2).permute(2, 0, 1)
