"""Models read more of a Linear than its output: its `weight`, and that one's type and device.

T5 casts what its feed-forward layer reads to the type of that layer's weight. Codes there made all
of it zero.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from compress.quantizer.int8_dynamic import Int8DynamicLinear
from compress.quantizer.qat_int8 import fake_quantized
from compress.transformer.blocks import every_linear
from compress.transformer.quantized_embedding import (
    Int4Embedding,
    Int8Embedding,
    quantize_embeddings_,
)
from compress.transformer.stored_modules import LazyWeight, LowRankLinear, QuantizedModule
from tests.configs import settings_of

E = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
    "max_position_embeddings": 64, "vocab_size": 99,
}  # fmt: skip
T5 = {
    "vocab_size": 99, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2,
    "num_decoder_layers": 1, "num_heads": 4, "decoder_start_token_id": 2, "eos_token_id": 2,
}  # fmt: skip
BART = {
    "vocab_size": 99, "d_model": 32, "encoder_layers": 2, "decoder_layers": 1, "eos_token_id": 2,
    "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48, "max_position_embeddings": 64,
}  # fmt: skip
IMAGE = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
    "image_size": 16, "patch_size": 8,
}  # fmt: skip
# By the model type's name; T5's kin are those that ask for a weight's type.
TEXT: dict[str, dict[str, Any]] = {
    "t5": T5,
    "t5 gated": {**T5, "feed_forward_proj": "gated-gelu"},
    "mt5": T5,
    "umt5": T5,
    "bart": BART,
    "bert": E,
    "roberta": {**E, "pad_token_id": 1},
    "albert": {**E, "embedding_size": 16},
    "electra": {**E, "embedding_size": 16},
    "mpnet": E,
    "deberta-v2": {**E, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "vocab_size": 99},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "vocab_size": 99},
    "gpt_neox": E,
    "opt": {**E, "ffn_dim": 48, "word_embed_proj_dim": 16},
    "llama": {**E, "num_key_value_heads": 2},
    "qwen3": {**E, "num_key_value_heads": 2, "head_dim": 16},
    "gemma2": {**E, "num_key_value_heads": 2, "head_dim": 8},
    "phi": E,
}
PICTURES: dict[str, dict[str, Any]] = {
    "vit": IMAGE,
    "beit": IMAGE,
    "swin": {
        "image_size": 16, "patch_size": 2, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 4],
        "window_size": 4,
    },
}  # fmt: skip
WEIGHT_ONLY = ("int8_weight_only", "rtn", "nf4")
FORMATS = (*WEIGHT_ONLY, "int8_dynamic")


def model_of(name: str) -> PreTrainedModel:
    """A random model whose outputs hang on all that it reads."""
    kind, settings = name.partition(" ")[0], {**TEXT, **PICTURES}[name]
    transformers.set_seed(0)
    pad = {"pad_token_id": 0} if name in TEXT else {}
    config = transformers.AutoConfig.for_model(kind, **{**pad, "num_labels": 3, **settings})
    task = "Sequence" if name in TEXT else "Image"
    made = getattr(transformers, f"AutoModelFor{task}Classification").from_config(config).eval()
    with torch.no_grad():
        for _, linear in every_linear(made):
            linear.weight.normal_(std=0.2)
    return made.requires_grad_(False)


def inputs_of(name: str) -> dict[str, Tensor]:
    if name in PICTURES:
        return {
            "pixel_values": torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        }
    ids = torch.randint(5, 99, (2, 9), generator=torch.Generator().manual_seed(0))
    ids[:, -1] = 2
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def formatted(model: PreTrainedModel, name: str) -> PreTrainedModel:
    quantizer: Any = settings_of("quantizer", name)
    made = copy.deepcopy(model)
    quantizer.quantize_torch_(made)
    return made


def rounded(model: PreTrainedModel, made: PreTrainedModel) -> PreTrainedModel:
    """Plain transformers with the weights that another model's modules stand for."""
    plain = copy.deepcopy(model)
    for name, linear in every_linear(plain):
        part = made.get_submodule(name)
        assert isinstance(part, QuantizedModule)
        matrix = part.matrix()
        linear.weight = nn.Parameter(matrix.T if isinstance(linear, Conv1D) else matrix)
    return plain


def largest(x: Tensor) -> float:
    return float(x.detach().abs().max())


@pytest.mark.parametrize("name", [*TEXT, *PICTURES])
def test_logits_are_plain_transformers_with_rounded_weights(name: str) -> None:
    model, batch = model_of(name), inputs_of(name)
    exact = model(**batch).logits
    for format_ in WEIGHT_ONLY:
        made = formatted(model, format_)
        got, wanted = made(**batch).logits, rounded(model, made)(**batch).logits
        assert largest(got - wanted) < 2e-5 * max(1.0, largest(wanted)), format_
        assert largest(wanted - exact) > 1e-4 * largest(exact), "rounding makes a difference"


@pytest.mark.parametrize("name", [*TEXT, *PICTURES])
def test_int8_activations_are_those_that_training_imitates(name: str) -> None:
    model, batch = model_of(name), inputs_of(name)
    exact, got = model(**batch).logits, formatted(model, "int8_dynamic")(**batch).logits
    with fake_quantized(model, "none"):
        wanted = model(**batch).logits
    # A value half-way between two codes may go the other way, and others behind it.
    assert largest(got - wanted) < 0.2 * largest(wanted - exact)


@pytest.mark.parametrize("format_", FORMATS)
def test_no_forward_pass_computes_a_matrix_for_its_type_alone(
    format_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = formatted(model_of("t5"), format_)
    kinds = {type(part) for part in made.modules() if isinstance(part, QuantizedModule)}
    counted: list[str] = []
    for kind in kinds:
        right = kind.matrix
        monkeypatch.setattr(kind, "matrix", lambda self, f=right: counted.append("") or f(self))
    made(**inputs_of("t5"))
    # These two compute with the codes; the others make each layer's matrix once.
    layers = (
        0
        if format_.startswith("int8")
        else sum(isinstance(p, tuple(kinds)) for p in made.modules())
    )
    assert len(counted) == layers


def modules() -> dict[str, Callable[[], Any]]:
    torch.manual_seed(0)
    linear, table = nn.Linear(12, 5), nn.Embedding(9, 12)
    made: dict[str, Callable[[], Any]] = {
        "int8 table": lambda: Int8Embedding.of(table),
        "int4 table": lambda: Int4Embedding.of(table),
        "low rank": lambda: LowRankLinear(12, 3, 5, bias=True),
    }
    for name in FORMATS:
        quantizer: Any = settings_of("quantizer", name)
        made[name] = lambda quantizer=quantizer: quantizer.quantized(linear)
    return made


@pytest.mark.parametrize("name", modules())
@pytest.mark.parametrize("inference", [True, False])
def test_the_weight_of_a_stored_module_is_a_float_matrix(name: str, inference: bool) -> None:
    made = modules()[name]()
    shape = (9, 12) if "table" in name else (5, 12)
    with torch.inference_mode(inference):
        weight = made.weight
        assert isinstance(weight, Tensor)
        assert (weight.shape, weight.dtype, weight.device.type) == (shape, torch.float32, "cpu")
        x = torch.randn(2, 12, generator=torch.Generator().manual_seed(1))
        product = torch.nn.functional.linear(x, weight)
        assert type(product) is Tensor
        if "table" in name:
            assert torch.equal(weight[torch.tensor([3, 8])], made(torch.tensor([3, 8])))
        elif name != "int8_dynamic":
            bias = made.up.bias if name == "low rank" else made.bias
            assert torch.allclose(product + bias, made(x), atol=1e-5)
        else:
            assert torch.allclose(product + made.bias, made(x), atol=0.05)
        assert torch.equal(weight.to(torch.bfloat16), (weight + 0).bfloat16())
    assert not isinstance(made.weight, nn.Parameter)
    assert "weight" not in made.state_dict()


def test_a_low_rank_layer_may_stand_in_t5s_feed_forward_layer() -> None:
    model, batch = model_of("t5"), inputs_of("t5")
    path = "transformer.encoder.block.0.layer.1.DenseReluDense.wo"
    low = LowRankLinear(48, 4, 32, bias=False).requires_grad_(False)
    model.set_submodule(path, low)
    got = model(**batch).logits
    full = nn.Linear(48, 32, bias=False)
    full.weight = nn.Parameter(low.up.weight @ low.down.weight)
    model.set_submodule(path, full)
    assert torch.allclose(got, model(**batch).logits, atol=1e-5)


def test_a_lazy_weight_is_computed_when_it_is_read_and_not_before() -> None:
    counted: list[int] = []

    def compute() -> Tensor:
        counted.append(1)
        return torch.full((2, 3), 2.0)

    weight = LazyWeight((2, 3), torch.float32, torch.device("cpu"), compute)
    assert (weight.dtype, weight.shape, weight.ndim) == (torch.float32, (2, 3), 2)
    assert not weight.is_cuda
    assert counted == []
    assert (weight * 2).tolist() == [[4.0] * 3] * 2
    assert counted == [1]


@pytest.mark.parametrize("choice", ["int8", "int4"])
def test_an_id_outside_the_table_is_refused_as_by_a_plain_one(choice: str) -> None:
    model = model_of("bert")
    quantize_embeddings_(model, choice)
    for wrong in (-1, 99):
        with pytest.raises(IndexError):
            model(input_ids=torch.tensor([[5, wrong]]))
    assert model(input_ids=torch.tensor([[5, 98]])).logits.isfinite().all()


def test_a_copy_on_another_type_still_says_float32() -> None:
    made = Int8DynamicLinear.of(nn.Linear(8, 4))
    assert copy.deepcopy(made).weight.dtype == torch.float32
