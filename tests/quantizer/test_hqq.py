from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from compress.quantizer.components.grouped import GroupedLinear
from compress.quantizer.hqq import fitted_codes, shrink
from compress.transformer.packing import Grid, decode_groups


def test_shrinking_by_hand() -> None:
    """|x| − |x|^−0.3 / 10: at 1 that is 0.9; at 0.01 it would be 0.01 − 0.398."""
    found = shrink(torch.tensor([1.0, -1.0, 0.01, 0.0]), 10.0)
    assert torch.allclose(found, torch.tensor([0.9, -0.9, 0.0, 0.0]))


def in_plain_loops(weight: Tensor, bits: int, rounds: int) -> tuple[Tensor, Tensor]:
    """One group a row: the formulas of the module, float64, until the mean error rises."""
    w = weight.double()
    low, high = w.amin(1, keepdim=True).clamp(max=0), w.amax(1, keepdim=True).clamp(min=0)
    s = ((high - low) / (2**bits - 1)).bfloat16().double()
    z = -low / s
    if bits == 4:
        z = z.round()
    beta, least, best = 10.0, float("inf"), z
    for _ in range(rounds):
        q = (w / s + z).round().clamp(0, 2**bits - 1)
        off = w - (q - z) * s
        if off.abs().mean() >= least:
            break
        least, best = float(off.abs().mean()), z
        e = off.sign() * (off.abs() - off.abs() ** -0.3 / beta).clamp(min=0)
        z = (q - (w - e) / s).mean(1, keepdim=True)
        beta *= 1.01
    return s.float(), best.float()


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("rounds", [1, 2, 20])
def test_zero_points_are_those_of_the_formulas(rounds: int, bits: int) -> None:
    torch.manual_seed(0)
    weight = torch.randn(6, 32) + 0.3
    codes, scale, zero = fitted_codes(weight, Grid(bits, 32, False), rounds)
    expected = in_plain_loops(weight, bits, rounds)
    assert torch.equal(scale.float(), expected[0])
    assert torch.allclose(zero.float(), expected[1], rtol=2**-8)
    steps = weight / scale.float() + zero.float()
    assert torch.equal(codes, steps.round().clamp(0, 2**bits - 1).to(torch.uint8))


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_the_mean_error_is_less_than_that_of_whole_zero_points(bits: int) -> None:
    torch.manual_seed(0)
    weight, grid = 0.02 * torch.randn(64, 128), Grid(bits, 64, False)  # as large as in a model
    scale, zero = grid.fit(weight)
    nearest = decode_groups(grid.encode(weight, scale, zero), scale, zero, 64)
    codes, scale, fitted = fitted_codes(weight, grid, 20)
    found = decode_groups(codes, scale, fitted.float(), 64)
    assert (weight - found).abs().mean() < 0.99 * (weight - nearest).abs().mean()


def test_a_shorter_group_counts_its_own_weights_and_the_layer_is_read_back() -> None:
    torch.manual_seed(0)
    weight, grid = 0.02 * torch.randn(64, 40), Grid(3, 16, False)
    linear = nn.Linear(40, 64)
    linear.weight.data = weight
    codes, scale, zero = fitted_codes(weight, grid, 1)
    made = GroupedLinear.of_codes(linear, grid, codes, scale, zero)
    assert torch.equal(made.matrix(), decode_groups(codes, scale, zero.float(), 16))
    alone = fitted_codes(weight[:, 32:], grid, 1)
    assert torch.equal(alone[2], zero[:, 2:])
    again = GroupedLinear(**made.arguments())
    again.load_state_dict(made.state_dict())
    assert torch.equal(again.matrix(), made.matrix())
