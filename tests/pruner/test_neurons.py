from __future__ import annotations

import pytest
import torch

from compress.interfaces import CompressedModel
from compress.transformer.blocks import known_blocks, weight_matrix
from tests.pruner.made import Contexts, Teachers, skeleton
from tests.pruner.test_structured import unit_pruner


def test_the_lightest_neurons_go(teacher: CompressedModel, context: Contexts) -> None:
    pruned = unit_pruner("neurons", importance="l1").prune(teacher, context(teacher))
    pairs = zip(known_blocks(teacher.module), known_blocks(pruned.module), strict=True)
    for before, after in pairs:
        up, down = before.module.intermediate.dense, before.module.output.dense
        mass = up.weight.abs().sum(dim=1) + down.weight.abs().sum(dim=0)
        kept = mass.argsort(descending=True)[:24].sort().values
        assert torch.equal(after.module.intermediate.dense.weight, up.weight[kept])
        assert torch.equal(after.module.intermediate.dense.bias, up.bias[kept])
        assert torch.equal(after.module.output.dense.weight, down.weight[:, kept])
        assert torch.equal(after.module.output.dense.bias, down.bias)
    notes = pruned.history[-1].notes
    assert notes["neurons_kept"] == [24] * 4
    assert notes["neurons_removed_fraction"] == 0.25
    assert "neurons_kept_indices" not in notes, "thousands of numbers that nobody reads"


def test_gate_and_up_lose_the_same_neurons(teachers: Teachers, context: Contexts) -> None:
    teacher = teachers("llama")
    pruned = unit_pruner("neurons", importance="activation").prune(teacher, context(teacher))
    for before, after in zip(
        known_blocks(teacher.module), known_blocks(pruned.module), strict=True
    ):
        columns = before.module.mlp.down_proj.weight.T
        kept = [
            next(i for i, old in enumerate(columns) if torch.equal(old, new))
            for new in after.module.mlp.down_proj.weight.T
        ]
        assert len(kept) == 24
        for name in ("gate_proj", "up_proj"):
            left, right = (b.module.mlp.get_submodule(name).weight for b in (before, after))
            assert torch.equal(left[kept], right)


@pytest.mark.parametrize("allocation", ["uniform", "global"])
def test_kept_neurons_are_a_multiple(
    allocation: str, teacher: CompressedModel, context: Contexts
) -> None:
    pruner = unit_pruner("neurons", allocation=allocation, sparsity=0.4, round_to=4)
    pruned = pruner.prune(teacher, context(teacher))
    counts = [block.neurons for block in known_blocks(pruned.module)]
    assert all(count % 4 == 0 for count in counts)
    # 19.2 of 32 each: five fours. 76.8 of 128 together: nineteen.
    assert sum(counts) == {"uniform": 80, "global": 76}[allocation]


def test_attention_stays(teacher: CompressedModel, context: Contexts) -> None:
    pruned = unit_pruner("neurons").prune(teacher, context(teacher))
    pairs = zip(known_blocks(teacher.module), known_blocks(pruned.module), strict=True)
    for before, after in pairs:
        left, right = (weight_matrix(b.projection(b.layout.query)) for b in (before, after))
        assert torch.equal(left, right)


def test_an_even_stand_in_predicts_a_global_allocation(teacher: CompressedModel) -> None:
    pruner = unit_pruner("neurons", allocation="global")
    predicted = pruner.check(skeleton(teacher))
    assert [block.neurons for block in known_blocks(predicted)] == [24] * 4
    assert {parameter.device.type for parameter in predicted.parameters()} == {"meta"}


def test_the_named_step_is_one_that_works(teacher: CompressedModel) -> None:
    for allocation, step in (("uniform", 0.03125), ("global", 1 / 128)):
        pruner = unit_pruner("neurons", sparsity=step, round_to=1, allocation=allocation)
        pruner.check(skeleton(teacher))
