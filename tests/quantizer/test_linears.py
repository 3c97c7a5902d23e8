from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from compress import load
from compress.config.errors import ConfigError
from compress.interfaces import CompressedModel
from compress.quantizer.components.linears import LinearFormat
from compress.transformer.blocks import known_blocks
from compress.transformer.stored_modules import LowRankLinear
from compress.transformer.surgery import keep_units_
from tests.configs import settings_of
from tests.tiny import torch_export

FORMATS = ("int8_dynamic", "int8_weight_only", "int4_weight_only", "nf4")
Teachers = Callable[[str], CompressedModel]


def batch() -> dict[str, torch.Tensor]:
    ids = torch.randint(1, 50, (2, 7), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


@pytest.mark.parametrize("name", FORMATS)
def test_embeddings_must_be_a_format_of_theirs(name: str) -> None:
    with pytest.raises(ConfigError, match=r"embeddings must be one of none, int8, int4; got nf4"):
        settings_of("quantizer", name, "quantizer.embeddings=nf4")


@pytest.mark.parametrize("name", FORMATS)
def test_layers_that_lost_heads_reload(name: str, teachers: Teachers, tmp_path: Path) -> None:
    """GPT-2 splits its one projection by the number of heads, which only the shapes tell."""
    teacher = teachers("gpt2")
    quantizer = settings_of("quantizer", name, "quantizer.embeddings=int8")
    assert isinstance(quantizer, LinearFormat)
    model = CompressedModel(_without_a_head(teacher), teacher.tokenizer, teacher.history)
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
    quantizer = settings_of("quantizer", name)
    assert isinstance(quantizer, LinearFormat)
    model = CompressedModel(module, teacher.tokenizer, teacher.history)
    exported = torch_export(model, quantizer, tmp_path / "model")
    reloaded = load(tmp_path / "model")
    assert torch.equal(exported.predict(batch()), reloaded.predict(batch()))
    codes = dict(reloaded.weights())
    assert codes[f"{path}.down.weight"].shape == (3, 16)
    assert codes[f"{path}.up.weight"].shape == (32, 3)
    assert {codes[f"{path}.{part}.weight"].dtype for part in ("down", "up")} == {torch.int8}
    assert not any(isinstance(part, nn.Linear) for part in exported.module.modules())


def _without_a_head(teacher: CompressedModel) -> nn.Module:
    module = type(teacher.module)(teacher.module.config).eval()
    block = known_blocks(module)[2]
    keep_units_(block, block.head_units(), torch.tensor([1]))
    return module
