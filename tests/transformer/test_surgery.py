"""Cutting units out gives what zeroing them would, in every architecture, and survives the disk."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers

from compress.interfaces import CompressedModel, StageContext
from compress.measure.score import predict_all
from compress.serve.folder import PACKED_WEIGHTS, PLAIN_WEIGHTS
from compress.store.artifact import read_model, write_model
from compress.transformer.blocks import Block, Units, known_blocks, weight_matrix
from compress.transformer.surgery import keep_blocks_, keep_units_, plain_config
from compress.transformer.torch_model import TorchModel
from tests.test_contract import ARCHITECTURES

Teachers = Callable[[str], CompressedModel]
Contexts = Callable[[CompressedModel], StageContext]
KINDS: dict[str, Callable[[Block], Units]] = {
    "heads": Block.head_units,
    "neurons": Block.neuron_units,
}


def logits(model: CompressedModel, ctx: StageContext) -> torch.Tensor:
    return predict_all(TorchModel(model.module, model.tokenizer, "cpu"), ctx.data.validation, 4)


@torch.no_grad()
def zero_unit_(block: Block, units: Units, gone: int) -> None:
    weight_matrix(block.projection(units.reader))[:, units.columns[gone]] = 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name != "mpnet"])
def test_cutting_units_equals_zeroing_what_reads_them(
    kind: str, architecture: str, teachers: Teachers, context: Contexts, tmp_path: Path
) -> None:
    teacher = teachers(architecture)
    zeroed, cut = (copy.deepcopy(teacher.module) for _ in range(2))
    blocks = [known_blocks(module) for module in (zeroed, cut)]
    # Uneven on purpose: the first block loses its first unit, the others theirs in the middle.
    for index, (left, right) in enumerate(zip(*blocks, strict=True)):
        units = KINDS[kind](left)
        gone = 0 if index == 0 else units.count // 2
        kept = torch.tensor([i for i in range(units.count) if i != gone])
        zero_unit_(left, units, gone)
        if index < 2:
            keep_units_(right, units, kept)
            assert KINDS[kind](right).count == units.count - 1
        else:
            zero_unit_(right, units, gone)
    ctx = context(teacher)
    expected, found = (logits(replace(teacher, module=m), ctx) for m in (zeroed, cut))
    assert torch.allclose(expected, found, atol=1e-6)
    write_model(replace(teacher, module=cut), tmp_path / "cut", "torch")
    assert (tmp_path / "cut" / PACKED_WEIGHTS).is_file(), "uneven shapes have no plain config"
    reloaded = replace(teacher, module=read_model(tmp_path / "cut"))
    assert torch.equal(found, logits(reloaded, ctx))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_even_neurons_load_with_plain_transformers(
    architecture: str, teachers: Teachers, context: Contexts, tmp_path: Path
) -> None:
    teacher = teachers(architecture)
    module = copy.deepcopy(teacher.module)
    for block in known_blocks(module):
        keep_units_(block, block.neuron_units(), torch.arange(block.neurons - 8))
    cut = replace(teacher, module=module)
    write_model(cut, tmp_path / "cut", "torch")
    assert (tmp_path / "cut" / PLAIN_WEIGHTS).is_file()
    plain = type(module).from_pretrained(tmp_path / "cut")
    ctx = context(teacher)
    assert torch.equal(logits(cut, ctx), logits(replace(cut, module=plain.eval()), ctx))


def test_heads_are_plain_where_the_config_has_their_width(teachers: Teachers) -> None:
    found = {}
    for architecture in ("bert", "llama"):
        module = copy.deepcopy(teachers(architecture).module)
        for block in known_blocks(module):
            keep_units_(block, block.head_units(), torch.tensor([0]))
        found[architecture] = plain_config(module)
    assert found["bert"] is None, "BERT derives the width of a head from the hidden size"
    assert found["llama"].num_key_value_heads == 1
    assert found["llama"].num_attention_heads == 2


@pytest.mark.parametrize("architecture", ["bert", "gpt2", "llama", "opt", "gpt_neox", "vit"])
def test_blocks_know_their_sizes(architecture: str, teachers: Teachers) -> None:
    block = known_blocks(teachers(architecture).module)[0]
    heads = 4 if architecture == "llama" else 2
    assert (block.heads, block.key_value_heads, block.neurons) == (heads, 2, 32)
    assert block.width == 16


def test_queries_that_share_a_key_go_together(teachers: Teachers) -> None:
    block = known_blocks(teachers("llama").module)[0]
    units = block.head_units()
    assert (block.heads, block.key_value_heads, block.head_size, units.count) == (4, 2, 4, 2)
    assert units.rows["self_attn.q_proj"][1].tolist() == list(range(8, 16))
    assert units.rows["self_attn.k_proj"][1].tolist() == list(range(4, 8))
    assert units.columns[1].tolist() == list(range(8, 16))


def test_rows_of_a_fused_projection(teachers: Teachers) -> None:
    block = known_blocks(teachers("gpt2").module)[0]
    rows = block.head_units().rows["attn.c_attn"]
    assert rows[1].tolist() == [*range(8, 16), *range(24, 32), *range(40, 48)]


def test_kept_layers_are_numbered_anew(teachers: Teachers) -> None:
    module = copy.deepcopy(teachers("llama").module)
    keep_blocks_(module, (0, 3))
    assert [block.attention.layer_idx for block in known_blocks(module)] == [0, 1]
    assert isinstance(module, transformers.LlamaForSequenceClassification)
