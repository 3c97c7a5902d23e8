from __future__ import annotations

import pytest
import torch
from torch import nn

from compress.quantizer.int8_dynamic import Int8DynamicLinear
from compress.quantizer.int8_weight_only import Int8WeightOnlyLinear


def test_by_hand() -> None:
    linear = nn.Linear(2, 2)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.27, -0.635], [0.0, 0.0]]))
        linear.bias.copy_(torch.tensor([0.5, -1.0]))
    made = Int8WeightOnlyLinear.of(linear)
    assert made.codes().tolist() == [[127, -64], [0, 0]]
    # 0.01 · (127 · 1 − 64 · 2) + 0.5
    assert made(torch.tensor([1.0, 2.0])).tolist() == pytest.approx([0.49, -1.0])


def test_only_the_weights_are_rounded() -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(64, 32), torch.randn(5, 7, 64)
    made = Int8WeightOnlyLinear.of(linear)
    weight = made.matrix()
    assert ((weight - linear.weight).abs() <= made.scale[:, None] / 2 + 1e-7).all()
    assert torch.allclose(made(x), nn.functional.linear(x, weight, linear.bias), atol=1e-6)
    errors = [(of(linear)(x) - linear(x)).square().mean() for of in (made.of, Int8DynamicLinear.of)]
    assert errors[0] < errors[1] / 1.5  # 8 bits of the activations are more error


def test_it_computes_in_the_type_of_its_input() -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(64, 32), torch.randn(5, 64)
    got = Int8WeightOnlyLinear.of(linear)(x.bfloat16())
    assert got.dtype == torch.bfloat16
    assert (got - linear(x)).abs().max() < 0.02 * linear(x).abs().max()  # bfloat16 has 8 bits


def test_a_layer_without_bias() -> None:
    bare = Int8WeightOnlyLinear.of(nn.Linear(4, 6, bias=False))
    assert bare.arguments() == {"in_features": 4, "out_features": 6, "bias": False}
    assert [name for name, _ in bare.weights()] == ["weight"]
    assert bare(torch.randn(3, 4)).shape == (3, 6)
