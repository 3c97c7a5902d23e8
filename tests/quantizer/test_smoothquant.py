from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from compress.quantizer.int8_dynamic import Int8DynamicLinear
from compress.quantizer.smoothquant import smoothed, smoothing


def test_scales_by_hand() -> None:
    """Largest inputs 16, 1, 0, 4, weights 4, 1, 2, 0; at 1/2: √(16 / 4) = 2, 1, else 1."""
    weight = torch.tensor([[4.0, -1.0, 2.0, 0.0], [-1.0, 0.5, 1.0, 0.0]])
    found = smoothing(weight, torch.tensor([16.0, 1.0, 0.0, 4.0]), 0.5)
    assert found.tolist() == [2.0, 1.0, 1.0, 1.0]
    # At 1/4: 16^(1/4) / 4^(3/4)
    assert smoothing(weight, torch.tensor([16.0, 1.0, 0.0, 4.0]), 0.25)[0] == pytest.approx(2**-0.5)


def test_outliers_of_single_columns_cost_less() -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(64, 32), torch.randn(50, 64)
    x[:, 3] *= 100
    weight, exact = linear.weight.detach(), linear(x).detach()
    columns = smoothing(weight, x.abs().amax(dim=0), 0.5)
    made, plain = smoothed(linear, weight, columns), Int8DynamicLinear.of(linear)
    errors = [float((layer(x) - exact).square().mean()) for layer in (made, plain)]
    assert errors[0] < 0.1 * errors[1]
    assert torch.allclose(made.matrix(), weight, atol=0.02)
    assert torch.equal(copy.deepcopy(made)(x), made(x))
    again = Int8DynamicLinear(**made.arguments())
    again.load_state_dict(made.state_dict())
    assert torch.equal(again(x), made(x))
