"""Grids of ranges that are shrunk where that lowers the error: what lies outside is cut off."""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from compress.transformer.packing import Grid, decode_groups, in_groups

SHRINKS = tuple(1 - step / 20 for step in range(10))


def clipped_fit(
    weight: Float[Tensor, "out in"], importance: Float[Tensor, " in"], grid: Grid
) -> tuple[Float[Tensor, "out groups"], UInt8[Tensor, "out groups"]]:
    """Scales and zero points of the shrunk ranges with the least Σ importance · (W − Ŵ)² a group.

    A shorter range counts only if its error is lower.
    """
    groups = in_groups(weight, grid.group_size)
    weights = in_groups(importance[None], grid.group_size)
    ends = groups.aminmax(dim=-1, keepdim=True)
    scale, zero = grid.fit(weight)
    least = torch.full(scale.shape, torch.inf, device=weight.device)
    for share in SHRINKS:
        cut = groups.clamp(ends.min * share, ends.max * share)
        tried = grid.fit(cut.flatten(-2)[..., : weight.shape[-1]])
        made = decode_groups(grid.encode(weight, *tried), *tried, grid.group_size)
        off = groups - in_groups(made, grid.group_size)
        error = (weights * off.square()).sum(dim=-1)
        better = error < least
        scale, zero = torch.where(better, tried[0], scale), torch.where(better, tried[1], zero)
        least = torch.minimum(error, least)
    return scale, zero
