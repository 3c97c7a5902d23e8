from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from compress.build import build_run
from compress.config.errors import ConfigError, UserError
from compress.interfaces import CompressedModel
from compress.quantizer.components.linears import LinearFormat
from compress.quantizer.int8_weight_only import Int8WeightOnly
from compress.serve.folder import folder_bytes
from compress.store.artifact import load
from compress.transformer.quantized_embedding import (
    Int4Embedding,
    Int8Embedding,
    QuantizedEmbedding,
    quantize_embeddings_,
)
from compress.transformer.stacks import embedding_tables
from tests.configs import compose_config, settings_of
from tests.tiny import torch_export

FORMATS = ("int8_dynamic", "int8_weight_only", "rtn", "nf4")
Teachers = Callable[[str], CompressedModel]


def table_of(rows: list[list[float]]) -> nn.Embedding:
    return nn.Embedding.from_pretrained(torch.tensor(rows), padding_idx=0)


def test_int8_by_hand() -> None:
    made = Int8Embedding.of(table_of([[0.0, 0.0], [1.27, -0.635], [-0.02, 0.254]]))
    assert made.qweight.tolist() == [[0, 0], [127, -64], [-10, 127]]
    looked_up = made(torch.tensor([[2, 1], [0, 2]]))
    expected = [[[-0.02, 0.254], [1.27, -0.64]], [[0.0, 0.0], [-0.02, 0.254]]]
    assert torch.allclose(looked_up, torch.tensor(expected), atol=1e-6)


def test_int4_by_hand() -> None:
    made = Int4Embedding.of(table_of([[0.0, 0.0, 0.0], [4.0, -1.5, 0.5]]))
    # Steps of -0.5; codes count from 8; the odd half byte is 0.
    assert made.qweight.tolist() == [[0x88, 0x80], [0x0B, 0x70]]
    assert dict(made.weights())["weight"].tolist() == [[0, 0, 0], [-8, 3, -1]]
    assert made(torch.tensor([1, 0])).tolist() == [[4.0, -1.5, 0.5], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize("dim", [16, 33, 80])
@pytest.mark.parametrize("kind", [Int8Embedding, Int4Embedding])
def test_lookups_are_off_by_half_a_step_or_what_is_cut_off(
    kind: type[Int8Embedding | Int4Embedding], dim: int
) -> None:
    torch.manual_seed(0)
    table, ids = nn.Embedding(50, dim, padding_idx=3), torch.randint(0, 50, (4, 9))
    made = kind.of(table)
    scale = made.scale.float().abs().view(50, -1)
    steps = scale.repeat_interleave(dim if kind is Int8Embedding else 32, dim=1)[:, :dim]
    # int4 cuts off what is beyond its seventh code.
    cut = (table.weight.abs() - 7 * steps) * (kind is Int4Embedding)
    limit = torch.maximum(steps / 2, cut) + 1e-6
    assert ((made(ids) - table(ids)).abs() <= limit[ids]).all()
    assert made(ids).dtype == torch.float32
    assert made.arguments() == {"num_embeddings": 50, "embedding_dim": dim, "padding_idx": 3}
    again = kind(**made.arguments())
    again.load_state_dict(made.state_dict())
    assert torch.equal(again(ids), made(ids))
    assert torch.equal(copy.deepcopy(made)(ids), made(ids))


@pytest.mark.parametrize(
    ("architecture", "names"),
    [
        ("bert", ["word_embeddings", "position_embeddings", "token_type_embeddings"]),
        ("mpnet", ["word_embeddings", "position_embeddings"]),
        ("gpt2", ["wte", "wpe"]),
        ("llama", ["embed_tokens"]),
        ("vit", []),
    ],
)
def test_the_tables_are_those_beside_the_tokens(
    architecture: str, names: list[str], teachers: Teachers
) -> None:
    module = copy.deepcopy(teachers(architecture).module)
    tables = embedding_tables(module)
    assert [name.rpartition(".")[2] for name in tables] == names
    if not names:
        return
    quantize_embeddings_(module, "int8")
    assert all(isinstance(module.get_submodule(name), Int8Embedding) for name in tables)
    left = [name for name, part in module.named_modules() if isinstance(part, nn.Embedding)]
    assert left == (["mpnet.encoder.relative_attention_bias"] if architecture == "mpnet" else [])


@pytest.mark.parametrize("choice", ["int8", "int4"])
@pytest.mark.parametrize(
    "architecture", ["bert", "distilbert", "roberta", "electra", "mpnet", "gpt2", "llama"]
)
def test_what_is_reloaded_is_what_was_written(
    architecture: str, choice: str, teachers: Teachers, tmp_path: Path
) -> None:
    teacher = teachers(architecture)
    exported = torch_export(teacher, Int8WeightOnly(embeddings=choice), tmp_path)
    reloaded = load(tmp_path)
    ids = torch.randint(3, 999, (2, 7), generator=torch.Generator().manual_seed(0))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    assert torch.equal(exported.predict(batch), reloaded.predict(batch))
    plain = {name: p.shape for name, p in teacher.module.named_parameters()}
    found = {name: tensor.shape for name, tensor in reloaded.weights()}
    assert {n: tuple(sorted(s)) for n, s in found.items()} == {
        n: tuple(sorted(s)) for n, s in plain.items()
    }


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_takes_them_and_the_folder_shrinks(
    name: str, teacher: CompressedModel, tmp_path: Path
) -> None:
    sizes = {}
    for choice in ("none", "int8", "int4"):
        quantizer = settings_of("quantizer", name, f"quantizer.embeddings={choice}")
        assert isinstance(quantizer, LinearFormat)
        exported = torch_export(teacher, quantizer, tmp_path / choice)
        kinds = [part for part in exported.module.modules() if isinstance(part, QuantizedEmbedding)]
        assert len(kinds) == (0 if choice == "none" else 3)
        sizes[choice] = folder_bytes(tmp_path / choice)
    entries = sum(table.weight.numel() for table in embedding_tables(teacher.module).values())
    rows = entries // 16
    # 4 bytes become 1, or half of one; each row of 16 has one scale of 4 bytes, or of 2.
    slack = 1000  # headers name other tensors
    assert sizes["none"] - sizes["int8"] == pytest.approx(3 * entries - 4 * rows, abs=slack)
    assert sizes["none"] - sizes["int4"] == pytest.approx(3.5 * entries - 2 * rows, abs=slack)


def test_a_model_without_tokens_is_refused(teachers: Teachers) -> None:
    quantizer = Int8WeightOnly(embeddings="int8")
    module = copy.deepcopy(teachers("vit").module)
    Int8WeightOnly(embeddings="none").check(module)
    with pytest.raises(ConfigError, match="table of token embeddings, ViTForImageClassification"):
        quantizer.check(module)
    with pytest.raises(ConfigError, match=r"set quantizer\.embeddings=none"):
        quantizer.quantize_torch_(module)


class ShiftedEmbedding(nn.Embedding):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input + 1)


@pytest.mark.parametrize(
    "table", [ShiftedEmbedding(1000, 16), nn.Embedding(1000, 16, max_norm=1.0)]
)
def test_a_table_that_does_more_than_looking_up_is_refused(
    table: nn.Embedding, teacher: CompressedModel
) -> None:
    module = copy.deepcopy(teacher.module)
    module.set_input_embeddings(table)
    with pytest.raises(
        ConfigError, match=r"plain nn.Embedding tables, bert.embeddings.word_embedd"
    ):
        Int8WeightOnly(embeddings="int8").check(module)


def test_a_table_tied_to_another_layer_is_refused(teacher: CompressedModel) -> None:
    module = copy.deepcopy(teacher.module)
    module.head = nn.Linear(16, 1000)
    module.head.weight = module.get_input_embeddings().weight
    with pytest.raises(ConfigError, match=r"word_embeddings\.weight, head\.weight"):
        Int8WeightOnly(embeddings="int4").check(module)


def test_the_model_is_checked_before_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "compress.transformer.quantized_embedding.embedding_tables", lambda module: {}
    )
    cfg = compose_config("teacher=tiny_random", "quantizer=rtn", "quantizer.embeddings=int8")
    with pytest.raises(UserError, match="BertForSequenceClassification has none"):
        build_run(cfg)
