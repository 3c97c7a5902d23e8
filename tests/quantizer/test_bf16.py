from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from compress import load
from compress.interfaces import CompressedModel, Quantizer, Step
from compress.quantizer.bf16 import Bf16
from compress.quantizer.fp16 import Fp16
from tests.architectures import build, sentences
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


@pytest.mark.parametrize("quantizer", [Bf16(), Fp16()], ids=["bf16", "fp16"])
@pytest.mark.parametrize("name", ["llama", "gpt_neox", "modernbert"])
def test_rotary_positions_stay_as_they_are_read_back(
    name: str, quantizer: Quantizer, tmp_path: Path
) -> None:
    folder = build(name, tmp_path / "model")
    module = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = CompressedModel(module, tokenizer, (Step("teacher", {}),))
    exported = torch_export(model, quantizer, tmp_path / "artifact")
    frequencies = [b.dtype for n, b in exported.module.named_buffers() if "inv_freq" in n]  # type: ignore[attr-defined]
    assert set(frequencies) == {torch.float32}
    batch = tokenizer([*sentences(4, 1)], padding=True, return_tensors="pt")
    pair = [each.predict(batch) for each in (exported, load(tmp_path / "artifact"))]
    assert torch.equal(*pair)
