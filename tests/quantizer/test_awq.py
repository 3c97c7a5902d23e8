from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from compress.quantizer.awq import scaled_codes
from compress.quantizer.components.calibrated import output_error
from compress.quantizer.components.grouped import GroupedLinear
from compress.transformer.calibration import Moments
from compress.transformer.packing import Grid, decode_groups


def layer(columns: int = 24) -> tuple[Tensor, Moments]:
    """A weight; some of its inputs are a hundred times as large as the others."""
    rng = torch.Generator().manual_seed(0)
    inputs = torch.randn(200, columns, generator=rng)
    inputs[:, ::7] *= 100
    return torch.randn(16, columns, generator=rng), moments(inputs)


def moments(inputs: Tensor) -> Moments:
    return Moments(inputs.T @ inputs, inputs.abs().mean(dim=0))


def nearest(weight: Tensor, grid: Grid) -> Tensor:
    scale, zero = grid.fit(weight)
    return decode_groups(grid.encode(weight, scale, zero), scale, zero, grid.group_size)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("group_size", [8, 10, 64])
def test_the_scale_is_the_best_of_the_papers_grid(
    group_size: int, bits: int, symmetric: bool
) -> None:
    """In plain loops: W · diag(s) rounded, over s, for each exponent; the least ‖(W − Ŵ)X‖²."""
    weight, statistic = layer()
    grid = Grid(bits, group_size, symmetric)
    errors = []
    for step in range(20):
        s = statistic.sizes ** (step / 20)
        s = (s / (s.max() * s.min()).sqrt()).bfloat16().float()
        made = nearest(weight * s, grid) / s
        errors.append(output_error(weight - made, statistic.moment))
    found = scaled_codes(weight, statistic, grid, clip=False)
    assert found.error == pytest.approx(min(errors), rel=1e-5)
    assert found.error < 0.7 * errors[0], "without scales it is rounding to nearest"


def test_clipping_is_worth_it_or_left_alone() -> None:
    weight, statistic = layer()
    weight[:, 5] *= 10  # on small inputs: its range costs the others their precision
    grid = Grid(3, 8, False)
    bare, clipped = (scaled_codes(weight, statistic, grid, clip=clip) for clip in (False, True))
    assert clipped.error < bare.error
    even = torch.ones(4, 8), moments(torch.eye(8))
    found = scaled_codes(*even, grid, clip=True)
    assert found.error == pytest.approx(0, abs=1e-3)


def test_the_layer_divides_by_what_columns_were_multiplied_with() -> None:
    weight, statistic = layer()
    weight[0, 2] = 0
    linear = nn.Linear(24, 16)
    linear.weight.data = weight
    grid = Grid(4, 8, False)
    made = GroupedLinear.of_codes(
        linear, grid, *scaled_codes(weight, statistic, grid, clip=True)[1:]
    )
    found = output_error(weight - made.matrix(), statistic.moment)
    assert found < 0.5 * output_error(weight - nearest(weight, grid), statistic.moment)
    assert made.matrix()[0, 2] == made.codes()[0, 2] == 0
    x = torch.randn(3, 24)
    assert torch.allclose(made(x), x @ made.matrix().T + linear.bias)
    again = GroupedLinear(**made.arguments())
    again.load_state_dict(made.state_dict())
    assert torch.equal(again(x), made(x))
