"""Grids of ranges that are shrunk where that lowers the error: what lies outside is cut off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from compress.transformer.packing import Grid, decode_groups, in_groups

SHRINKS = tuple(1 - step / 20 for step in range(10))


class Shrunk(NamedTuple):
    """A weight cut off at a share of its range, and what rounding on its grids leaves."""

    cut: Float[Tensor, "out groups size"]
    scale: Float[Tensor, "out groups"]
    zero: UInt8[Tensor, "out groups"]
    off: Float[Tensor, "out groups size"]


def shrunk(
    weight: Float[Tensor, "out in"],
    low: Float[Tensor, "out groups 1"],
    high: Float[Tensor, "out groups 1"],
    grid: Grid,
) -> Iterator[Shrunk]:
    """The ranges that are tried, the whole one first; `low` and `high` are its ends."""
    groups = in_groups(weight, grid.group_size)
    for share in SHRINKS:
        cut = groups.clamp(low * share, high * share)
        scale, zero = grid.fit(cut.flatten(-2)[..., : weight.shape[-1]])
        made = decode_groups(grid.encode(weight, scale, zero), scale, zero, grid.group_size)
        yield Shrunk(cut, scale, zero, groups - in_groups(made, grid.group_size))


def clipped_fit(
    weight: Float[Tensor, "out in"], importance: Float[Tensor, " in"], grid: Grid
) -> tuple[Float[Tensor, "out groups"], UInt8[Tensor, "out groups"]]:
    """Scales and zero points of the shrunk ranges with the least Σ importance · (W − Ŵ)² a group.

    A shorter range counts only if its error is lower.
    """
    weights = in_groups(importance[None], grid.group_size)
    ends = in_groups(weight, grid.group_size).aminmax(dim=-1, keepdim=True)
    tries = shrunk(weight, ends.min, ends.max, grid)
    whole = next(tries)
    scale, zero, least = whole.scale, whole.zero, (weights * whole.off.square()).sum(dim=-1)
    for tried in tries:
        error = (weights * tried.off.square()).sum(dim=-1)
        better = error < least
        scale = torch.where(better, tried.scale, scale)
        zero = torch.where(better, tried.zero, zero)
        least = torch.minimum(error, least)
    return scale, zero
