from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForSequenceClassification

from compress import load
from compress.build import build_run
from compress.interfaces import CompressedModel
from compress.quantizer.int8_dynamic import Int8Dynamic, Int8DynamicLinear
from compress.quantizer.packing import quantize_per_channel
from compress.settings import UserError
from tests.configs import compose_config
from tests.tiny import torch_export


def test_by_hand() -> None:
    weight = torch.tensor([[1.27, -0.635, 0.0], [0.0, 0.0, 0.0], [-2.54, 0.03, 2.54]])
    quantized, scale = quantize_per_channel(weight)
    assert quantized.tolist() == [[127, -64, 0], [0, 0, 0], [-127, 2, 127]]
    assert scale.tolist() == pytest.approx([0.01, 1.0, 0.02])


def test_rounding_is_off_by_half_a_step_at_most() -> None:
    weight = torch.randn(16, 64, generator=torch.Generator().manual_seed(0))
    quantized, scale = quantize_per_channel(weight)
    error = (quantized.float() * scale[:, None] - weight).abs()
    assert (error <= scale[:, None] / 2 + 1e-7).all()


def test_zeros_stay_zeros() -> None:
    weight = torch.randn(8, 32, generator=torch.Generator().manual_seed(0))
    weight[:, ::2] = 0
    assert (quantize_per_channel(weight)[0][:, ::2] == 0).all()


def test_layer_is_near_the_float_one() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(64, 32)
    x = torch.randn(5, 7, 64)
    got = Int8DynamicLinear.of(linear)(x)
    # Weights: 8 bits. Activations: 7 bits (reduce_range), one scale for the tensor.
    assert (got - linear(x)).abs().max() < 0.05 * linear(x).abs().max()
    assert got.shape == (5, 7, 32)


def test_layer_equals_torchs_own_dynamic_quantisation() -> None:
    """The reference: torch.ao.quantization's per-channel dynamic Linear on the same weights."""
    torch.manual_seed(0)
    linear, x = nn.Linear(64, 32), torch.randn(9, 64)
    with pytest.warns(DeprecationWarning, match="torch.ao.quantization is deprecated"):
        reference = torch.ao.quantization.quantize_dynamic(
            nn.Sequential(copy.deepcopy(linear)),
            {nn.Linear: torch.ao.quantization.per_channel_dynamic_qconfig},
        )
    ours = Int8DynamicLinear.of(linear)(x)
    # torch's observer rounds scales with an epsilon of its own: the last of 127 steps may differ.
    assert (ours - reference(x)).abs().max() < 0.02 * ours.abs().max()


def test_a_copy_and_a_layer_without_bias_work() -> None:
    linear = Int8DynamicLinear.of(nn.Linear(8, 4, bias=False))
    x = torch.randn(2, 8)
    first = linear(x)
    assert torch.equal(copy.deepcopy(linear)(x), first)
    assert linear.arguments() == {"in_features": 8, "out_features": 4, "bias": False}


def test_artifact_is_int8_on_disk_and_does_not_load_as_something_else(
    teacher: CompressedModel, tmp_path: Path
) -> None:
    torch_export(teacher, Int8Dynamic(embeddings="none"), tmp_path)
    stored = load_file(tmp_path / "weights.safetensors")
    linears = [n for n, part in teacher.module.named_modules() if isinstance(part, nn.Linear)]
    assert len(linears) > 10
    assert all(stored[f"{name}.weight"].dtype == torch.int8 for name in linears)
    with pytest.raises(OSError, match=r"model\.safetensors"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path)
    kinds = {str(tensor.dtype) for name, tensor in load(tmp_path).weights()}
    assert kinds == {"torch.int8", "torch.float32"}


def test_it_is_refused_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    cfg = compose_config("teacher=tiny_random", "device=cuda", "quantizer=int8_dynamic")
    with pytest.raises(UserError, match="Int8Dynamic runs on cpu in the torch runtime"):
        build_run(cfg)


def test_int4_tables_are_refused_in_onnx_runtime() -> None:
    choices = ("teacher=tiny_random", "device=cpu_onnxruntime", "quantizer=int8_dynamic")
    with pytest.raises(UserError, match="embeddings=int4 cannot be had in the onnxruntime"):
        build_run(compose_config(*choices, "quantizer.embeddings=int4"))
