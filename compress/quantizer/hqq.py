"""HQQ: zero points that leave few large errors, found without data.

Badri & Shaji, "Half-Quadratic Quantization of Large Machine Learning Models" (2023,
dropbox.github.io/hqq_blog): with the scale of the range of each group held, the zero point is the
minimizer of φ(W − (q − z) · s), φ the l_p norm with p < 1, by half-quadratic splitting:

    q ← round(W / s + z);  e ← shrink(W − (q − z) · s);  z ← mean over the group of q − (W − e) / s

with shrink(x) = sign(x) · max(0, |x| − |x|^(p − 1) / β), and β rising by κ in each of 20 rounds;
rounds end early when the mean |W − (q − z) · s| of the layer rises. As in the reference
implementation (`optimize_weights_proximal`), the range of a group is that of its weights, and the
first zero point is rounded with 4 bits. Deviations: the zero point is that of the round with the
least error instead of the one after it; scales and zero points are stored as bfloat16,
and codes are chosen anew by the stored ones; ranges include zero, as of all grids here. Zero points
are real numbers, so that zero is not on the grid: pruned weights would not stay zero.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from pydantic.dataclasses import dataclass
from torch import Tensor

from compress.config.fields import PositiveInt
from compress.quantizer.components.grouped import GroupedLinear, GroupedWeights, float_weight
from compress.transformer.blocks import Linear
from compress.transformer.packing import Grid, decode_groups, in_groups

POWER = 0.7  # p
BETA, KAPPA = 10.0, 1.01
ROUNDED_BITS = 4  # of which the first zero point is rounded


@dataclass(frozen=True, kw_only=True)
class Hqq(GroupedWeights):
    """Rounds the weight of every Linear with fitted zero points.

    Attributes:
        rounds: of the optimization, at most.
    """

    keeps_zeros = False

    rounds: PositiveInt

    def quantized(self, linear: Linear) -> GroupedLinear:
        """The rounded layer."""
        codes, scale, zero = fitted_codes(float_weight(linear), self.grid, self.rounds)
        return GroupedLinear.of_codes(linear, self.grid, codes, scale, zero)


def fitted_codes(
    weight: Float[Tensor, "out in"], grid: Grid, rounds: int
) -> tuple[UInt8[Tensor, "out in"], Float[Tensor, "out groups"], Float[Tensor, "out groups"]]:
    """Codes, scales and real zero points, both in bfloat16."""
    scale, _ = grid.fit(weight)
    lowest = in_groups(weight, grid.group_size).amin(dim=-1).clamp(max=0)
    zero = -lowest / scale.float()
    zero = zero.round() if grid.bits == ROUNDED_BITS else zero
    best, least = zero, torch.inf
    for step in range(rounds):
        codes = grid.encode(weight, scale, zero)
        off = weight - decode_groups(codes, scale, zero, grid.group_size)
        error = float(off.abs().mean())
        if error >= least:
            break
        best, least = zero, error
        kept = weight - shrink(off, BETA * KAPPA**step)
        zero = _mean(codes.float(), kept, scale, grid)
    stored = best.to(torch.bfloat16)
    return grid.encode(weight, scale, stored.float()), scale, stored


def shrink(x: Float[Tensor, ...], beta: float) -> Float[Tensor, ...]:
    """The minimizer e of |e|^p + β / 2 · (e − x)², approximately."""
    size = x.abs()
    return x.sign() * (size - size.pow(POWER - 1) / beta).clamp_min(0)


def _mean(
    codes: Float[Tensor, "out in"],
    kept: Float[Tensor, "out in"],
    scale: Float[Tensor, "out groups"],
    grid: Grid,
) -> Float[Tensor, "out groups"]:
    """The mean of q − (W − e) / s of each group, without what pads the last one."""
    counts = in_groups(torch.ones_like(codes[:1]), grid.group_size).sum(dim=-1)
    steps = in_groups(kept, grid.group_size) / scale.float()[..., None]
    total = (in_groups(codes, grid.group_size) - steps).sum(dim=-1)
    return total / counts
