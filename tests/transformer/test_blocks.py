from __future__ import annotations

from collections.abc import Callable

import pytest
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
)

from compress.config.errors import UserError
from compress.interfaces import CompressedModel
from compress.transformer.blocks import known_blocks, scoped_linears


def test_an_unknown_block_is_refused_with_a_way_on_where_its_parts_matter() -> None:
    config = AutoConfig.for_model(
        "phi", num_hidden_layers=2, hidden_size=16, num_attention_heads=2, vocab_size=50
    )
    module = AutoModelForSequenceClassification.from_config(config)
    with pytest.raises(UserError, match=r"self_attn\.dense.*compress/transformer/layouts\.py"):
        known_blocks(module)
    with pytest.raises(UserError, match=r"compress/transformer/layouts\.py"):
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
