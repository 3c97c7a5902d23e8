"""What bf16 and fp16 share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from compress.interfaces import CompressedModel, Quantizer, Step
from compress.quantizer.bf16 import Bf16
from compress.quantizer.fp16 import Fp16
from compress.store.artifact import load
from compress.transformer.rounding import cast_
from tests.architectures import build, sentences
from tests.tiny import torch_export


@pytest.mark.parametrize("quantizer", [Bf16(), Fp16()], ids=["bf16", "fp16"])
def test_half_the_bytes_on_disk_and_plain_transformers_loads_them(
    quantizer: Any, teacher: CompressedModel, tmp_path: Path
) -> None:
    torch_export(teacher, quantizer, tmp_path)
    weights = sum(p.numel() for p in teacher.module.parameters())
    size = (tmp_path / "model.safetensors").stat().st_size
    assert 2 * weights < size < 2 * weights + 12_000  # the header names every tensor
    assert {tensor.dtype for _, tensor in load(tmp_path).weights()} == {quantizer.dtype}
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert plain.dtype == quantizer.dtype


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
