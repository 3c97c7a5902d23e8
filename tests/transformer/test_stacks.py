"""Layers are found by structure in every architecture, and other matrices in them are reported."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification

from compress.config.errors import ConfigError
from compress.transformer.blocks import known_blocks, scoped_linears
from compress.transformer.stacks import (
    block_linears,
    check_all_linear,
    find_stack,
    layer_units,
    other_matrices,
    stacks,
)
from tests.structures import EVERY, structure

# By architecture: each stack with its layers, and Linear layers inside all of them.
STACKS: dict[str, tuple[dict[str, int], int]] = {
    "bert": ({"bert.encoder.layer": 3}, 18),
    "distilbert": ({"distilbert.transformer.layer": 3}, 18),
    "albert": ({"albert.encoder.albert_layer_groups.0.albert_layers": 1}, 6),
    "albert_groups": (
        {f"albert.encoder.albert_layer_groups.{i}.albert_layers": 1 for i in range(2)},
        12,
    ),
    "mobilebert": ({"mobilebert.encoder.layer": 3}, 45),
    "squeezebert": ({"transformer.encoder.layers": 3}, 0),
    "funnel": ({f"funnel.encoder.blocks.{i}": 2 for i in range(2)}, 24),
    "t5": ({"transformer.encoder.block": 3, "transformer.decoder.block": 3}, 48),
    "bart_uneven": ({"model.encoder.layers": 3, "model.decoder.layers": 2}, 38),
    "gpt2": ({"transformer.h": 3}, 12),
    "mixtral": ({"model.layers": 3}, 12),
    "swin": ({f"swin.encoder.layers.{i}.blocks": n for i, n in enumerate((2, 1, 2))}, 32),
    "segformer": ({"segformer.stages.0.blocks": 1, "segformer.stages.1.blocks": 2}, 18),
    "resnet": ({"resnet.encoder.stages": 2}, 0),
}
# What has no single stack of layers, one for each that the config counts.
SEVERAL = ("albert_groups", "funnel", "t5", "t5_uneven", "bart", "bart_uneven", "swin", "swinv2",
           "convnext", "resnet", "segformer")  # fmt: skip
# The largest matrix that is no Linear's, and the share of the layers' weights that are none.
LEFT = {
    "xlnet": ("rel_attn.q (16 x 4 x 4)", "62%"),
    "funnel": ("r_kernel (16 x 4 x 4)", "12%"),
    "mixtral": ("mlp.experts.gate_up_proj (4 x 48 x 16)", "86%"),
}
WITHOUT_LINEARS = ("squeezebert", "resnet")


@pytest.mark.parametrize("name", STACKS)
def test_stacks_and_linear_layers_are_found_by_structure(name: str) -> None:
    module = structure(name, "meta")
    expected, linears = STACKS[name]
    assert {stack.name: len(stack.blocks) for stack in stacks(module)} == expected
    found = block_linears(module)
    assert len(found) == linears
    assert all(module.get_submodule(name) is part for name, part in found.items())


@pytest.mark.parametrize("name", EVERY)
def test_every_linear_layer_is_in_one_unit(name: str) -> None:
    module = structure(name, "meta")
    units = layer_units(module)
    for linear in block_linears(module):
        assert sum(f"{linear}.".startswith(f"{unit}.") for unit in units) == 1
    classifier = next(n for n, part in module.named_modules() if isinstance(part, nn.Linear))
    assert set(block_linears(module)) <= set(dict(module.named_modules()))
    assert not any("classifier" in n or "pooler" in n for n in block_linears(module)), classifier


@pytest.mark.parametrize("name", EVERY)
def test_one_stack_is_found_or_the_model_is_refused(name: str) -> None:
    module = structure(name, "meta")
    if name in SEVERAL:
        with pytest.raises(ConfigError, match=r"stacks? of layers .*, expected exactly 1"):
            find_stack(module)
        return
    stack = find_stack(module)
    assert stack.depth == module.config.num_hidden_layers
    assert stack.shared == (name == "albert")


@pytest.mark.parametrize("name", EVERY)
def test_what_a_method_for_linear_layers_would_leave_alone_is_named(name: str) -> None:
    module = structure(name, "meta")
    if name in LEFT:
        example, share = LEFT[name]
        with pytest.raises(ConfigError, match=rf"scope=all .* {share} of .*"):
            scoped_linears(module, "all")
        with pytest.raises(ConfigError) as caught:
            check_all_linear(module, "X")
        assert example in str(caught.value)
        matrices = other_matrices(module).values()
        left = sum(matrix.numel() for matrix in matrices)
        linears = sum(part.weight.numel() for part in block_linears(module).values())
        assert f"{left / (left + linears):.0%}" == share
    elif name in WITHOUT_LINEARS:
        with pytest.raises(ConfigError, match="has none inside its layers"):
            scoped_linears(module, "all")
    else:
        assert scoped_linears(module, "all") == block_linears(module)
        assert other_matrices(module) == {}


def test_a_pattern_takes_what_it_names_beside_other_matrices() -> None:
    found = scoped_linears(structure("mixtral", "meta"), "*.self_attn.*")
    assert len(found) == 12


def test_a_list_that_is_not_of_layers_is_not_a_stack() -> None:
    module = copy.deepcopy(structure("bert", "meta"))
    module.norms = nn.ModuleList(nn.LayerNorm(2) for _ in range(3))
    assert [stack.name for stack in stacks(module)] == ["bert.encoder.layer"]
    module.second = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
    with pytest.raises(ConfigError, match=r"2 stacks of layers \(bert.encoder.layer: 3, second: 3"):
        find_stack(module)


def test_a_layer_with_weights_of_its_own_kind_has_no_known_layout() -> None:
    module = structure("bert")
    module.bert.encoder.layer[1].mix = nn.ParameterList([torch.ones(3, 3)])
    with pytest.raises(ConfigError, match=r"have weights at .*mix\.0"):
        known_blocks(module)
    with pytest.raises(ConfigError, match=r"conv.*compress/transformer/layouts\.py"):
        known_blocks(structure("nystromformer", "meta"))


def test_an_unknown_layout_is_refused_only_where_its_parts_matter() -> None:
    config = AutoConfig.for_model(
        "phi", num_hidden_layers=2, hidden_size=16, num_attention_heads=2, vocab_size=50
    )
    module = AutoModelForSequenceClassification.from_config(config)
    with pytest.raises(ConfigError, match=r"self_attn\.dense.*compress/transformer/layouts\.py"):
        known_blocks(module)
    with pytest.raises(ConfigError, match=r"compress/transformer/layouts\.py"):
        scoped_linears(module, "attention")
    assert len(scoped_linears(module, "all")) == 12
