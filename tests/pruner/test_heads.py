from __future__ import annotations

import copy

import pytest
import torch

from compress.config.errors import ConfigError
from compress.interfaces import CompressedModel
from compress.transformer.blocks import known_blocks, weight_matrix
from tests.pruner.made import Contexts, Teachers, skeleton
from tests.pruner.test_structured import unit_pruner


def test_the_kept_heads_are_those_that_the_notes_name(
    teacher: CompressedModel, context: Contexts
) -> None:
    pruned = unit_pruner("heads", importance="random").prune(teacher, context(teacher))
    notes = pruned.history[-1].notes
    assert notes["heads_kept"] == [1, 1, 1, 1]
    assert notes["heads_removed_fraction"] == 0.5
    pairs = zip(known_blocks(teacher.module), known_blocks(pruned.module), strict=True)
    for (before, after), (kept,) in zip(pairs, notes["heads_kept_indices"], strict=True):
        rows = slice(8 * kept, 8 * kept + 8)
        old, new = (block.module.attention for block in (before, after))
        for name in ("query", "key", "value"):
            left, right = (a.self.get_submodule(name) for a in (old, new))
            assert torch.equal(left.weight[rows], right.weight)
            assert torch.equal(left.bias[rows], right.bias)
        assert torch.equal(old.output.dense.weight[:, rows], new.output.dense.weight)
        assert torch.equal(old.output.dense.bias, new.output.dense.bias)
        assert after.heads == 1


def test_it_expectations_the_shapes_of_the_four_projections(
    teacher: CompressedModel, context: Contexts
) -> None:
    expected = unit_pruner("heads").prune(teacher, context(teacher)).history[-1].expected_shapes
    attention = "bert.encoder.layer.0.attention"
    assert expected[f"{attention}.self.query.weight"] == (8, 16)
    assert expected[f"{attention}.output.dense.weight"] == (16, 8)
    assert len(expected) == 4 * 4 * 2, "of each of the four layers, with their biases"


def test_queries_that_share_a_key_are_one_unit(teachers: Teachers, context: Contexts) -> None:
    teacher = teachers("llama")
    pruned = unit_pruner("heads").prune(teacher, context(teacher))
    assert pruned.history[-1].notes["heads_kept"] == [1, 1, 1, 1], "of two groups, not four heads"
    block = known_blocks(pruned.module)[0]
    assert (block.heads, block.key_value_heads) == (2, 1)
    with pytest.raises(ConfigError, match=r"sparsity=0\.25 removes nothing: .* 1 of 2 heads"):
        unit_pruner("heads", sparsity=0.25).check(skeleton(teacher))


def test_blocks_that_share_position_biases_are_refused(teachers: Teachers) -> None:
    with pytest.raises(
        ConfigError, match="MPNet cannot be cut: its blocks share one position bias"
    ):
        unit_pruner("heads").check(skeleton(teachers("mpnet")))


@pytest.mark.parametrize("architecture", ["gpt2", "opt", "gpt_neox"])
@torch.no_grad()
def test_a_decoder_without_a_head_says_what_it_says_when_nothing_reads_that_head(
    architecture: str, teachers: Teachers, context: Contexts
) -> None:
    """Wherever a projection keeps queries, keys and values of a head, these are what goes."""
    teacher = teachers(architecture)
    pruned = unit_pruner("heads", importance="random").prune(teacher, context(teacher))
    deaf = copy.deepcopy(teacher.module)
    kept = pruned.history[-1].notes["heads_kept_indices"]
    for block, (stays,) in zip(known_blocks(deaf), kept, strict=True):
        units = block.head_units()
        weight_matrix(block.projection(units.reader))[:, units.columns[1 - stays]] = 0
    ids = torch.randint(4, 60, (2, 9), generator=torch.Generator().manual_seed(0))
    ours, theirs = (module(input_ids=ids).logits for module in (pruned.module, deaf))
    assert torch.allclose(ours, theirs, atol=1e-6)
    assert not torch.allclose(ours, teacher.module(input_ids=ids).logits, atol=1e-6)
