"""The rounding that quantization-aware training learns through."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from compress.quantizer.int8_dynamic import Int8DynamicLinear, activation_max
from compress.quantizer.qat_int8 import (
    FakeQuantLinear,
    fake_quantized_linear,
    quantize_per_token,
    straight_through,
)
from compress.transformer.packing import quantize_per_channel

# Both sides multiply the same whole numbers; they differ in the order of a few float32 roundings
# after that (2^-24 each).
FLOAT32_ROUNDING = 1e-6


def relative_error(got: Tensor, wanted: Tensor) -> float:
    return float((got - wanted).detach().abs().max() / wanted.detach().abs().max())


@pytest.mark.parametrize(
    ("x", "codes", "scales"),
    [
        # 127 steps of 0.01; 0.026 is 2.6 of them.
        ([[1.27, 0.026, 0.0]], [[127.0, 3.0, 0.0]], [0.01]),
        # The largest may be below zero; the other half of the codes is left unused.
        ([[0.114, -1.27, 0.5]], [[11.0, -127.0, 50.0]], [0.01]),
        # Each token has its own: a large neighbor changes nothing.
        ([[1.27, 0.026], [-1270.0, 26.0]], [[127.0, 3.0], [-127.0, 3.0]], [0.01, 10.0]),
        # A token of zeros, or as good as: codes of zero whatever the scale.
        ([[0.0, 0.0], [1e-40, 0.0]], [[0.0, 0.0], [0.0, 0.0]], [1.0, 1.0]),
    ],
)
def test_activations_by_hand(
    x: list[list[float]], codes: list[list[float]], scales: list[float]
) -> None:
    got_codes, got_scales = quantize_per_token(torch.tensor(x), 127)
    assert got_codes.tolist() == codes
    assert got_scales.flatten().tolist() == pytest.approx(scales)


def test_seven_bits_have_half_of_the_codes() -> None:
    codes, scale = quantize_per_token(torch.tensor([[0.63, -0.026, 0.0]]), 63)
    assert codes.tolist() == [[63.0, -3.0, 0.0]]
    assert scale.item() == pytest.approx(0.01)


def test_activations_have_the_codes_of_torchs_own_quantizer() -> None:
    """torch.quantize_per_channel with each token as a channel."""
    generator = torch.Generator().manual_seed(0)
    spread = 10 ** torch.empty(200, 1).uniform_(-6, 3, generator=generator)
    x = torch.randn(200, 64, generator=generator) * spread
    codes, scale = quantize_per_token(x, 127)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*quantized tensor creation")
        zeros = torch.zeros(200, dtype=torch.long)
        reference = torch.quantize_per_channel(x, scale[:, 0].double(), zeros, 0, torch.qint8)
    off = (reference.int_repr() - codes).abs()
    # Values half-way between two codes may go the other way.
    assert off.max() <= 1
    assert off.count_nonzero() <= 2


@pytest.mark.parametrize("shift", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(9, 64), (1, 64), (5, 7, 64)])
def test_it_computes_what_the_kernel_does(shape: tuple[int, ...], bias: bool, shift: float) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(64, 32, bias=bias)
    equal = 0
    for _ in range(10):
        x = torch.randn(shape) + shift
        got, kernel = FakeQuantLinear(linear)(x), Int8DynamicLinear.of(linear)(x)
        # A kernel may round a half-way activation the other way: one step, times a weight.
        step = x.abs().amax(dim=-1, keepdim=True) / activation_max()
        assert ((got - kernel).abs() <= 1.01 * step * linear.weight.abs().max()).all()
        equal += relative_error(got, kernel) < FLOAT32_ROUNDING
        assert relative_error(linear(x), kernel) > 3e-4, "rounding makes a difference"
    assert equal >= 9


def test_it_computes_what_the_kernel_does_for_gpt2s_layer_and_for_zeros() -> None:
    torch.manual_seed(0)
    linear, x = Conv1D(24, 16), torch.randn(3, 16)
    nn.init.normal_(linear.bias)
    got, kernel = FakeQuantLinear(linear)(x), Int8DynamicLinear.of(linear)(x)
    assert relative_error(got, kernel) < FLOAT32_ROUNDING
    zeros = torch.zeros(3, 16)
    assert torch.equal(FakeQuantLinear(linear)(zeros), Int8DynamicLinear.of(linear)(zeros))


def test_under_autocast_the_codes_are_exact_and_only_sums_are_rounded() -> None:
    torch.manual_seed(0)
    weight, x = torch.randn(32, 64), torch.randn(9, 64)
    exact = fake_quantized_linear(x, weight, None)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = fake_quantized_linear(x, weight, None)
        otherwise = functional.linear(x, weight)
    # A sum keeps 8 bits: off by 2^-8 of itself at most, whatever it was made of.
    assert ((rounded - exact).abs() <= 2**-8 * exact.abs()).all()
    assert not ((otherwise - x @ weight.T).abs() <= 2**-8 * (x @ weight.T).abs()).all()


def test_under_autocast_a_layers_outputs_have_the_type_of_a_linears() -> None:
    linear, x = nn.Linear(8, 4), torch.randn(3, 8)
    assert FakeQuantLinear(linear)(x).dtype == linear(x).dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert FakeQuantLinear(linear)(x).dtype == linear(x).dtype == torch.bfloat16


def test_weights_are_rounded_as_the_format_does() -> None:
    weight = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    weight[0] = 0
    codes, scale = quantize_per_channel(weight)
    # The identity in whole steps: x / scale is x, so the product is the rounded weight itself.
    got = fake_quantized_linear(127 * torch.eye(8), weight, None).T / 127
    assert torch.allclose(got, codes * scale[:, None], rtol=1e-6, atol=0)


def test_gradients_by_hand() -> None:
    """Straight through: dL/dW = gᵀ · rounded X, dL/dX = g · rounded W, rounding or not."""
    weight = torch.tensor([[1.27, 0.026], [-2.54, 0.034]], requires_grad=True)
    x = torch.tensor([[1.27, -0.014]], requires_grad=True)
    # 1.27 is 127 steps of 0.01 or 63 of 0.0202; -0.014 rounds to one of them.
    largest = activation_max()
    step = 1.27 / largest
    fake_quantized_linear(x, weight, None).backward(torch.tensor([[1.0, 10.0]]))
    assert weight.grad is not None
    assert x.grad is not None
    expected = torch.tensor([[largest, -1.0], [10.0 * largest, -10.0]]) * step
    assert torch.allclose(weight.grad, expected)
    # Rounded weights: [1.27, 0.03] and [-2.54, 0.04]; g = (1, 10).
    assert torch.allclose(x.grad, torch.tensor([[1.27 - 25.4, 0.03 + 0.4]]))


def test_straight_through_is_the_rounded_value_to_the_bit() -> None:
    exact = torch.tensor([3.3, -1e8, 1e-8], requires_grad=True)
    rounded = torch.tensor([3.0, 7.0, 0.1])
    made = straight_through(exact, rounded)
    assert torch.equal(made, rounded)
    made.sum().backward()
    assert exact.grad is not None
    assert exact.grad.tolist() == [1.0, 1.0, 1.0]


def test_training_through_the_rounding_beats_rounding_afterwards() -> None:
    """An outlier makes steps coarse; on correlated inputs, errors of weights can cancel."""
    generator = torch.Generator().manual_seed(0)
    linear = nn.Linear(32, 8, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(8, 32, generator=generator) * 0.1)
        linear.weight[:, 0] = 10
    x = torch.randn(256, 3, generator=generator) @ torch.randn(3, 32, generator=generator)
    x[:, 0] = 0
    wanted = linear(x).detach()
    trained = copy.deepcopy(linear)
    fake = FakeQuantLinear(trained)
    optimizer = torch.optim.Adam(fake.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=300)
    for _ in range(300):
        optimizer.zero_grad()
        (fake(x) - wanted).square().mean().backward()
        optimizer.step()
        schedule.step()
    after, during = (
        (Int8DynamicLinear.of(layer)(x) - wanted).square().mean() for layer in (linear, trained)
    )
    # 0.13 to 0.36 over six seeds.
    assert during < 0.5 * after
