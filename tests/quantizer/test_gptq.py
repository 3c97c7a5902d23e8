from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from compress.quantizer.components.calibrated import output_error
from compress.quantizer.gptq import round_columns
from compress.transformer.packing import Grid, decode_groups


def rounded(weight: Tensor, moment: Tensor, grid: Grid, *, block: int = 128, order: bool) -> Tensor:
    codes, scale, zero = round_columns(
        weight, moment.clone(), grid, damping=0.01, block_size=block, act_order=order, clip=False
    )
    return decode_groups(codes, scale, zero, grid.group_size)


def layer(columns: int = 24) -> tuple[Tensor, Tensor]:
    """A weight, and XXᵀ of correlated inputs."""
    rng = torch.Generator().manual_seed(0)
    mix = torch.randn(columns, columns, generator=rng)
    inputs = torch.randn(300, columns, generator=rng) @ mix
    return torch.randn(16, columns, generator=rng), inputs.T @ inputs


def test_three_columns_by_hand() -> None:
    """Grid 0..3 with step 1: 1.4 becomes 1, and 2.4 takes half of what it lost, H₁₂ / H₂₂.

    The third column, which no other is correlated with, only sets the range.
    """
    moment = torch.tensor([[2.0, 1.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 1.0]])
    weight = torch.tensor([[1.4, 2.4, 3.0]])
    codes, scale, zero = round_columns(
        weight, moment, Grid(2, 3, False), damping=0.0, block_size=3, act_order=False, clip=False
    )
    assert (scale.tolist(), zero.tolist()) == ([[1.0]], [[0]])
    assert codes.tolist() == [[1, 3, 3]], "2.6 is nearer to 3, where 2.4 was nearer to 2"


def one_column_at_a_time(weight: Tensor, moment: Tensor, grid: Grid, order: list[int]) -> Tensor:
    """Algorithm 1 with an explicit inverse for each column, float64, and grids as they are asked.

    In the order of the columns a group's grid is of the weights as they are by then, in another
    order of the weights as they were.
    """
    hessian = moment.double().numpy().copy()
    hessian += 0.01 * hessian.diagonal().mean() * np.eye(len(hessian))
    left, made = weight.double().numpy().copy(), torch.zeros_like(weight)
    scale, zero = grid.fit(weight)
    for place, column in enumerate(order):
        group = column // grid.group_size
        if order == sorted(order) and column % grid.group_size == 0:
            now = torch.from_numpy(left[:, column : column + grid.group_size]).float()
            scale[:, group], zero[:, group] = (found[:, 0] for found in grid.fit(now))
        s, z = scale[:, group].double().numpy(), zero[:, group].double().numpy()
        codes = np.clip(np.round(left[:, column] / s) + z, 0, grid.largest)
        value = (codes - z) * s
        behind = order[place:]
        inverse = np.linalg.inv(hessian[np.ix_(behind, behind)])
        error = (left[:, column] - value) / inverse[0, 0]
        left[:, behind] -= np.outer(error, inverse[0])
        made[:, column] = torch.from_numpy(value).float()
    return made


@pytest.mark.parametrize("order", [True, False])
def test_shrunk_ranges_lose_less_of_the_outputs(order: bool) -> None:
    """For inputs that are hardly correlated; of others a part of the error is between columns."""
    rng = torch.Generator().manual_seed(0)
    inputs = torch.randn(2000, 128, generator=rng) * torch.rand(128, generator=rng).exp() ** 3
    weight, moment = torch.randn(32, 128, generator=rng), inputs.T @ inputs
    grid, errors = Grid(3, 64, False), []
    for clip in (True, False):
        codes, scale, zero = round_columns(
            weight, moment.clone(), grid, damping=0.01, block_size=32, act_order=order, clip=clip
        )
        made = decode_groups(codes, scale, zero, grid.group_size)
        errors.append(output_error(weight - made, moment))
    assert errors[0] < 0.9 * errors[1]


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("by_size", [True, False])
@pytest.mark.parametrize("block", [1, 5, 8, 128])
def test_it_is_the_papers_algorithm(block: int, by_size: bool, symmetric: bool) -> None:
    weight, moment = layer()
    order = list(range(24))
    if by_size:
        order = moment.diagonal().argsort(descending=True).tolist()
    expected = one_column_at_a_time(weight, moment, Grid(3, 8, symmetric), order)
    found = rounded(weight, moment, Grid(3, 8, symmetric), block=block, order=by_size)
    # A weight that is almost half-way between two codes may go either way.
    assert ((found - expected).abs() > 1e-5).float().mean() < 0.01


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("by_size", [True, False])
def test_outputs_are_nearer_than_those_of_rounding(bits: int, by_size: bool) -> None:
    weight, moment = layer(48)
    grid = Grid(bits, 16, False)
    scale, zero = grid.fit(weight)
    nearest = decode_groups(grid.encode(weight, scale, zero), scale, zero, 16)
    ours = rounded(weight, moment, grid, order=by_size)
    assert output_error(weight - ours, moment) < 0.65 * output_error(weight - nearest, moment)


@pytest.mark.parametrize("by_size", [True, False])
def test_zeros_stay_and_the_others_compensate_for_them(by_size: bool) -> None:
    weight, moment = layer()
    weight[:, ::3] = 0
    found = rounded(weight, moment, Grid(4, 8, False), order=by_size)
    assert (found[:, ::3] == 0).all()


def test_features_that_no_token_uses_are_rounded() -> None:
    weight, moment = layer()
    moment[3], moment[:, 3] = 0, 0
    found = rounded(weight, moment, Grid(8, 8, False), order=True)
    assert (found - weight)[:, 3].abs().max() < 0.05
