"""Ranges that are shrunk where that lowers the error."""

from __future__ import annotations

import torch

from compress.quantizer.components.clipping import clipped_fit
from compress.transformer.packing import Grid, decode_groups


def test_an_outlier_that_hardly_counts_is_cut_off() -> None:
    """Codes 0 to 3: with steps of 2 the weight 1 is off by 1, with steps of about 1 only 6 is.

    The best of the ranges tried ends at 0.55 of 6; its scale is a third of 3.3 in bfloat16.
    """
    weight, grid = torch.tensor([[0.0, 1.0, 2.0, 6.0]]), Grid(2, 4, False)
    scale, zero = clipped_fit(weight, torch.tensor([1.0, 1.0, 1.0, 0.01]), grid)
    assert (scale.tolist(), zero.tolist()) == ([[1.1015625]], [[0]])
    scale, zero = clipped_fit(weight, torch.tensor([0.01, 0.01, 0.01, 1.0]), grid)
    assert (scale.tolist(), zero.tolist()) == ([[2.0]], [[0]])


def test_each_group_has_its_own_range_and_none_is_worse() -> None:
    rng = torch.Generator().manual_seed(0)
    weight = torch.randn(16, 40, generator=rng) ** 3  # a few are far out
    importance = torch.rand(40, generator=rng) ** 4
    for symmetric in (True, False):
        grid = Grid(3, 16, symmetric)
        errors = []
        for scale, zero in (clipped_fit(weight, importance, grid), grid.fit(weight)):
            made = decode_groups(grid.encode(weight, scale, zero), scale, zero, grid.group_size)
            parts = (importance * (weight - made).square()).split(16, dim=1)
            errors.append(torch.stack([part.sum(dim=1) for part in parts], dim=1))
        assert (errors[0] <= errors[1] + 1e-6).all()
        assert errors[0].sum() < 0.9 * errors[1].sum()
