from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForSequenceClassification
from transformers.pytorch_utils import Conv1D

from compress.config.errors import ConfigError
from compress.interfaces import CompressedModel
from compress.quantizer.components.grouped import GroupedLinear
from compress.quantizer.components.linears import QuantizedLinear
from compress.quantizer.int8_weight_only import Int8WeightOnlyLinear
from compress.quantizer.nf4 import Nf4Linear
from compress.store.artifact import load
from compress.transformer.blocks import known_blocks
from compress.transformer.stored_modules import LowRankLinear
from compress.transformer.surgery import keep_units_
from tests.configs import settings_of
from tests.tiny import torch_export

FORMATS = ("int8_dynamic", "int8_weight_only", "rtn", "nf4")
Teachers = Callable[[str], CompressedModel]


def quantizer_of(name: str, *overrides: str) -> Any:
    return settings_of("quantizer", name, *(f"quantizer.{override}" for override in overrides))


def batch() -> dict[str, torch.Tensor]:
    ids = torch.randint(1, 50, (2, 7), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


@pytest.mark.parametrize("name", FORMATS)
def test_embeddings_must_be_a_format_of_theirs(name: str) -> None:
    with pytest.raises(ConfigError, match=r"embeddings must be one of none, int8, int4; got nf4"):
        quantizer_of(name, "embeddings=nf4")


@pytest.mark.parametrize("name", ["int8_dynamic", "int8_weight_only"])
def test_an_int8_artifact_is_int8_on_disk_and_does_not_load_as_something_else(
    name: str, teacher: CompressedModel, tmp_path: Path
) -> None:
    torch_export(teacher, quantizer_of(name), tmp_path)
    stored = load_file(tmp_path / "weights.safetensors")
    linears = [n for n, part in teacher.module.named_modules() if isinstance(part, nn.Linear)]
    assert len(linears) > 10
    assert all(stored[f"{linear}.qweight"].dtype == torch.int8 for linear in linears)
    with pytest.raises(OSError, match=r"model\.safetensors"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path)
    kinds = {tensor.dtype for _, tensor in load(tmp_path).weights()}
    assert kinds == {torch.int8, torch.float32}


@pytest.mark.parametrize("name", FORMATS)
def test_layers_that_lost_heads_reload(name: str, teachers: Teachers, tmp_path: Path) -> None:
    """GPT-2 splits its one projection by the number of heads, which only the shapes tell."""
    teacher = teachers("gpt2")
    quantizer = quantizer_of(name, "embeddings=int8")
    module = type(teacher.module)(teacher.module.config).eval()
    block = known_blocks(module)[2]
    keep_units_(block, block.head_units(), torch.tensor([1]))
    model = CompressedModel(module, teacher.tokenizer, teacher.history)
    exported = torch_export(model, quantizer, tmp_path / "model")
    assert torch.equal(exported.predict(batch()), load(tmp_path / "model").predict(batch()))


@pytest.mark.parametrize("name", FORMATS)
def test_both_factors_of_a_low_rank_layer_are_quantized(
    name: str, teachers: Teachers, tmp_path: Path
) -> None:
    teacher = teachers("bert")
    module = type(teacher.module)(teacher.module.config).eval()
    path = "bert.encoder.layer.1.intermediate.dense"
    module.set_submodule(path, LowRankLinear(16, 3, 32, bias=True))
    quantizer = quantizer_of(name)
    model = CompressedModel(module, teacher.tokenizer, teacher.history)
    exported = torch_export(model, quantizer, tmp_path / "model")
    reloaded = load(tmp_path / "model")
    assert torch.equal(exported.predict(batch()), reloaded.predict(batch()))
    codes = dict(reloaded.weights())
    assert codes[f"{path}.down.weight"].shape == (3, 16)
    assert codes[f"{path}.up.weight"].shape == (32, 3)
    assert {codes[f"{path}.{part}.weight"].dtype for part in ("down", "up")} == {torch.int8}
    assert not any(isinstance(part, nn.Linear) for part in exported.module.modules())


@pytest.mark.parametrize(
    ("kind", "settings", "error"),
    [
        (Int8WeightOnlyLinear, {}, 0.01),
        (GroupedLinear, {"bits": 4, "group_size": 2, "zeros": "codes", "scaled": False}, 0.15),
        (Nf4Linear, {"double_quantization": False}, 0.2),
    ],
)
def test_gpt2s_layer_a_copy_and_another_type(
    kind: type[QuantizedLinear], settings: dict[str, Any], error: float
) -> None:
    torch.manual_seed(0)
    conv, x = Conv1D(6, 4), torch.randn(3, 4)
    made = kind.of(conv, *settings.values())
    assert made.codes().shape == (6, 4)
    assert (made(x) - conv(x)).abs().max() < error * conv(x).abs().max()
    assert torch.equal(copy.deepcopy(made)(x), made(x))
    assert made(x.bfloat16()).dtype == torch.bfloat16
    assert made.arguments() == {"in_features": 4, "out_features": 6, "bias": True, **settings}
