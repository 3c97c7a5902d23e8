from __future__ import annotations

import copy
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification

from compress import load
from compress.interfaces import CompressedModel
from compress.quantizer.bf16 import Bf16
from tests.tiny import torch_export


def test_half_the_bytes_on_disk_and_plain_transformers_loads_them(
    teacher: CompressedModel, tmp_path: Path
) -> None:
    torch_export(teacher, Bf16(), tmp_path)
    weights = sum(p.numel() for p in teacher.module.parameters())
    size = (tmp_path / "model.safetensors").stat().st_size
    assert 2 * weights < size < 2 * weights + 12_000  # the header names every tensor
    assert {tensor.dtype for _, tensor in load(tmp_path).weights()} == {torch.bfloat16}
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert plain.dtype == torch.bfloat16


def test_rounding_by_hand(teacher: CompressedModel) -> None:
    module = copy.deepcopy(teacher.module)
    weight = next(module.parameters())
    with torch.no_grad():
        weight[0, :3] = torch.tensor([1 + 2**-7, 1 + 2**-9, 2.0**100])
    Bf16().quantize_torch_(module)
    assert next(module.parameters())[0, :3].tolist() == [1 + 2**-7, 1.0, 2.0**100]
