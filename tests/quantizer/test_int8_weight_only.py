from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers.pytorch_utils import Conv1D

from compress.interfaces import CompressedModel
from compress.quantizer.int8_dynamic import Int8DynamicLinear
from compress.quantizer.int8_weight_only import Int8WeightOnly, Int8WeightOnlyLinear
from tests.tiny import torch_export


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


def test_conv1d_a_copy_and_no_bias() -> None:
    torch.manual_seed(0)
    conv, x = Conv1D(6, 4), torch.randn(3, 4)
    made = Int8WeightOnlyLinear.of(conv)
    assert made.codes().shape == (6, 4)
    assert (made(x) - conv(x)).abs().max() < 0.01 * conv(x).abs().max()
    assert torch.equal(copy.deepcopy(made)(x), made(x))
    bare = Int8WeightOnlyLinear.of(nn.Linear(4, 6, bias=False))
    assert bare.arguments() == {"in_features": 4, "out_features": 6, "bias": False}
    assert [name for name, _ in bare.weights()] == ["weight"]
    assert bare(x).shape == (3, 6)


def test_artifact_is_int8_on_disk(teacher: CompressedModel, tmp_path: Path) -> None:
    torch_export(teacher, Int8WeightOnly(embeddings="none"), tmp_path)
    stored = load_file(tmp_path / "weights.safetensors")
    linears = [n for n, part in teacher.module.named_modules() if isinstance(part, nn.Linear)]
    assert len(linears) > 10
    assert all(stored[f"{name}.qweight"].dtype == torch.int8 for name in linears)
    assert Int8WeightOnly.torch_devices == ("cpu", "cuda")
