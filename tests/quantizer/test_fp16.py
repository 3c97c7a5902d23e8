from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from compress import load
from compress.config.errors import UserError
from compress.interfaces import CompressedModel
from compress.quantizer.fp16 import Fp16
from compress.transformer.rounding import cast_
from tests.architectures import build
from tests.tiny import torch_export


def test_half_the_bytes_on_disk_and_plain_transformers_loads_them(
    teacher: CompressedModel, tmp_path: Path
) -> None:
    torch_export(teacher, Fp16(), tmp_path)
    weights = sum(p.numel() for p in teacher.module.parameters())
    size = (tmp_path / "model.safetensors").stat().st_size
    assert 2 * weights < size < 2 * weights + 12_000  # the header names every tensor
    assert {tensor.dtype for _, tensor in load(tmp_path).weights()} == {torch.float16}
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert plain.dtype == torch.float16


def test_rounding_by_hand(teacher: CompressedModel) -> None:
    module = copy.deepcopy(teacher.module)
    weight = next(module.parameters())
    with torch.no_grad():
        weight[0, :4] = torch.tensor([1 + 2**-10, 1 + 2**-12, 65504.0, 2**-26])
    Fp16().quantize_torch_(module)
    assert next(module.parameters())[0, :4].tolist() == [1 + 2**-10, 1.0, 65504.0, 0.0]


def test_a_weight_outside_its_range_is_refused(teacher: CompressedModel) -> None:
    module = copy.deepcopy(teacher.module)
    with torch.no_grad():
        next(module.parameters())[0, 0] = 70_000
    with pytest.raises(UserError, match="has a weight of 70000, float16 ends at 65504"):
        Fp16().quantize_torch_(module)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_what_transformers_keeps_in_float32_stays_so(dtype: torch.dtype, tmp_path: Path) -> None:
    folder = build("t5", tmp_path / "t5")
    wanted = AutoModelForSequenceClassification.from_pretrained(folder, dtype=dtype)
    module = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    cast_(module, "fp16", dtype, "none")
    found = dict(module.named_parameters())
    kept = {name for name, parameter in found.items() if parameter.dtype == torch.float32}
    assert len(kept) == (8 if dtype == torch.float16 else 0)
    for name, parameter in wanted.named_parameters():
        assert parameter.dtype == found[name].dtype
        assert torch.equal(parameter, found[name]), name
