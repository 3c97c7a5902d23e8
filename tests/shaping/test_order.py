"""A model whose parts are sorted by importance says what it said before."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch

from compress.config.errors import ConfigError
from compress.shaping.channels import CHANNEL_IMPORTANCES
from compress.shaping.importance import IMPORTANCES
from compress.shaping.order import sort_by_importance_
from compress.shaping.units import KINDS, unit_sites
from compress.transformer.surgery import keep_units_
from tests.pruner.made import Contexts, Teachers, logits
from tests.shaping.made import largest_difference, noisy

# All queries of GPT-2's fused projection come first, GPT-NeoX's go head by head, and of Llama's
# two queries share a key.
ARCHITECTURES = ("bert", "roberta", "distilbert", "electra", "gpt2", "gpt_neox", "llama", "vit")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_sorting_preserves_the_function(
    architecture: str, teachers: Teachers, context: Contexts
) -> None:
    model = noisy(teachers(architecture))
    ctx = context(model)
    ranked = replace(model, module=copy.deepcopy(model.module))
    sort_by_importance_(ranked.module, model.tokenizer, ctx, "activation")
    before, after = logits(model, ctx), logits(ranked, ctx)
    assert largest_difference(before, after) < 1e-5
    assert before.std() > 1e-2
    moved = [
        name
        for name, weight in model.module.named_parameters()
        if not torch.equal(weight, ranked.module.get_parameter(name))
    ]
    assert len(moved) > 10
    scores = [CHANNEL_IMPORTANCES["activation"](ranked.module, model.tokenizer, ctx)]
    for kind in KINDS:
        sites = unit_sites(ranked.module, kind)
        scores += IMPORTANCES["activation"](ranked.module, model.tokenizer, sites, ctx)
    for score in scores:
        assert (score.diff() <= 1e-4 * score.max()).all(), "the most important come first"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("architecture", ["bert", "gpt2", "gpt_neox", "llama"])
def test_a_prefix_of_a_sorted_block_is_the_cut_of_the_unsorted_one(
    architecture: str, kind: str, teachers: Teachers
) -> None:
    module = noisy(teachers(architecture)).module
    once, twice = copy.deepcopy(module), copy.deepcopy(module)
    [(block, units), *_], [(same, alike), *_] = (unit_sites(m, kind) for m in (once, twice))
    order = torch.randperm(units.count, generator=torch.Generator().manual_seed(1))
    half = units.count // 2
    keep_units_(block, units, order[:half])
    keep_units_(same, alike, order)
    keep_units_(same, KINDS[kind](same), torch.arange(half))
    pairs = zip(block.module.parameters(), same.module.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


def test_blocks_that_share_position_biases_cannot_be_sorted(
    teachers: Teachers, context: Contexts
) -> None:
    model: Any = teachers("mpnet")
    with pytest.raises(ConfigError, match="of MPNet cannot be cut"):
        sort_by_importance_(model.module, model.tokenizer, context(model), "l1")
