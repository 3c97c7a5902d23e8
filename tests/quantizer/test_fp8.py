from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from compress.config.errors import ConfigError
from compress.interfaces import CompressedModel
from compress.quantizer.fp8 import Fp8Linear, quantize_rows
from compress.store.artifact import load
from tests.configs import settings_of
from tests.tiny import torch_export


def test_codes_by_hand() -> None:
    """448 / 448 = 1 a step: 17 lies between 16 and 18, and goes to the even one; 0.001 is lost."""
    codes, scale = quantize_rows(torch.tensor([[448.0, -17.0, 19.0, 0.0], [0.0, 0.0, 0.0, 0.0]]))
    assert codes.float()[0].tolist() == [448.0, -16.0, 20.0, 0.0]
    assert scale[0].item() == 1.0
    assert codes.float()[1].tolist() == [0.0] * 4


def test_a_product_by_hand() -> None:
    """Rows of ±448 and powers of two are exact: (448 · 2 + 56 · 4) · 1 + b."""
    linear = nn.Linear(16, 16)
    with torch.no_grad():
        linear.weight.zero_()
        linear.weight[0, :2] = torch.tensor([2.0, 4.0])
        linear.bias.fill_(8.0)
    x = torch.zeros(1, 16, dtype=torch.bfloat16)
    x[0, :2] = torch.tensor([448.0, 56.0])
    product = Fp8Linear.of(linear)(x)
    assert product.dtype is torch.bfloat16
    assert product.float().tolist() == [[1128.0] + [8.0] * 15]


def test_a_token_depends_on_nothing_else_in_the_batch() -> None:
    torch.manual_seed(0)
    layer = Fp8Linear.of(nn.Linear(32, 16))
    x = torch.randn(4, 32, dtype=torch.bfloat16)
    x[0] *= 1000
    assert torch.equal(layer(x)[1:], layer(x[1:]))


def test_weights_too_small_for_a_code_count_as_zeros() -> None:
    linear = nn.Linear(16, 16, bias=False)
    with torch.no_grad():
        linear.weight.fill_(1.0)
        linear.weight[:, 0], linear.weight[:, 1] = -1e-9, 1e-9
    assert int(Fp8Linear.of(linear).codes().count_nonzero()) == 16 * 14


def test_what_the_kernels_do_not_take_stays_bfloat16(
    teacher: CompressedModel, tmp_path: Path
) -> None:
    quantizer: Any = settings_of("quantizer", "fp8")
    torch_export(teacher, quantizer, tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.precision == "float8_e4m3fn"
    dtypes = {name: weight.dtype for name, weight in loaded.weights()}
    assert dtypes["classifier.weight"] is torch.bfloat16  # it has two rows
    assert dtypes["bert.encoder.layer.0.attention.self.query.weight"] is torch.int8


def test_a_model_of_which_they_take_nothing_is_refused() -> None:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=50, hidden_size=12, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=24,
    )  # fmt: skip
    quantizer: Any = settings_of("quantizer", "fp8")
    with pytest.raises(ConfigError, match="sizes are multiples of 16, and this model has none"):
        quantizer.check(BertForSequenceClassification(config))
