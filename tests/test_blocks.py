from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
)

from compress.blocks import block_linears, find_blocks, known_blocks, scoped_linears
from compress.interfaces import CompressedModel
from compress.settings import UserError


@pytest.mark.parametrize(
    ("architecture", "prefix", "linears"),
    [
        ("bert", "bert.encoder.layer", 6),
        ("distilbert", "distilbert.transformer.layer", 6),
        ("roberta", "roberta.encoder.layer", 6),
    ],
)
def test_layers_are_found_by_shape(
    architecture: str, prefix: str, linears: int, teachers: Callable[[str], CompressedModel]
) -> None:
    module = teachers(architecture).module
    name, blocks = find_blocks(module)
    assert name == prefix
    assert len(blocks) == 4
    found = block_linears(module)
    assert len(found) == 4 * linears
    assert all(module.get_submodule(name) is part for name, part in found.items())


def test_a_model_without_layers_is_refused_with_a_way_on(teacher: CompressedModel) -> None:
    config = AutoConfig.for_model("resnet", embedding_size=4, hidden_sizes=[4], depths=[1])
    config.num_hidden_layers = 3
    module = AutoModelForImageClassification.from_config(config)
    with pytest.raises(UserError, match=r"0 lists of 3 equal layers.*compress/blocks\.py"):
        find_blocks(module)


def test_two_candidates_are_refused(teacher: CompressedModel) -> None:
    import copy

    module = copy.deepcopy(teacher.module)
    module.second = nn.ModuleList(nn.Linear(2, 2) for _ in range(4))
    with pytest.raises(UserError, match="has 2 lists of 4 equal layers"):
        find_blocks(module)


def test_an_unknown_block_is_refused_with_a_way_on_where_its_parts_matter() -> None:
    config = AutoConfig.for_model(
        "phi", num_hidden_layers=2, hidden_size=16, num_attention_heads=2, vocab_size=50
    )
    module = AutoModelForSequenceClassification.from_config(config)
    with pytest.raises(UserError, match=r"self_attn\.dense.*compress/layouts\.py"):
        known_blocks(module)
    with pytest.raises(UserError, match=r"compress/layouts\.py"):
        scoped_linears(module, "attention")
    assert len(scoped_linears(module, "all")) == 12, "what needs no parts can be done all the same"


@pytest.mark.parametrize(
    ("architecture", "heads", "shared", "neurons"),
    [
        ("bert", 2, 2, 32),
        ("gpt2", 2, 2, 32),
        ("llama", 4, 2, 32),
        ("opt", 2, 2, 32),
        ("gpt_neox", 2, 2, 32),
        ("vit", 2, 2, 32),
    ],
)
def test_parts_have_their_sizes(
    architecture: str,
    heads: int,
    shared: int,
    neurons: int,
    teachers: Callable[[str], CompressedModel],
) -> None:
    block = known_blocks(teachers(architecture).module)[0]
    assert (block.heads, block.key_value_heads, block.neurons) == (heads, shared, neurons)
    assert block.width == 16
