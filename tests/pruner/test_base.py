"""Base class of the pruners: a copy, expected zeros that stay true, peak memory, recovery."""

from __future__ import annotations

import pytest
import torch
from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError
from compress.interfaces import CompressedModel, StageContext
from compress.measure.sparsity import check_history, live_zeros
from compress.pruner.components.base import PEAK_MEMORY, BasePruner, PruningState
from compress.training.distillation import held_masks
from compress.transformer.blocks import block_linears, weight_matrix
from tests.pruner.made import Contexts, assert_trained_with_zeros_held, pruner


@dataclass(frozen=True, kw_only=True)
class Halve(BasePruner):
    """Cuts every second neuron of the first layer; made for these tests."""

    def check(self, skeleton):  # type: ignore[no-untyped-def]
        return skeleton

    def prune_(self, work: PruningState, ctx: StageContext) -> None:
        from compress.transformer.blocks import known_blocks
        from compress.transformer.surgery import keep_units_

        block = known_blocks(work.module)[0]
        keep_units_(block, block.neuron_units(), torch.arange(0, block.neurons, 2))
        work.expect_shapes([f"{block.name}.{path}" for path in block.layout.feed_forward])


def halve(epochs: float = 0.0) -> Halve:
    wanda = pruner("wanda", f"recovery.epochs={epochs}", "recovery.batch_size=8")
    return Halve(recovery=wanda.recovery)


@pytest.mark.parametrize("scope", ["attention", "ffn", "*.2.*"])
def test_scope_leaves_the_others_alone(
    scope: str, teacher: CompressedModel, context: Contexts
) -> None:
    for name in ("magnitude", "wanda", "sparsegpt"):
        pruned = pruner(name, f"scope='{scope}'").prune(teacher, context(teacher))
        before = block_linears(teacher.module)
        touched = {
            name
            for name, linear in block_linears(pruned.module).items()
            if not torch.equal(linear.weight, before[name].weight)
        }
        expected = {
            "attention": {n for n in before if ".attention." in n},
            "ffn": {n for n in before if ".attention." not in n},
            "*.2.*": {n for n in before if ".layer.2." in n},
        }
        assert touched == expected[scope]
        assert set(live_zeros(pruned.history)) == {f"{n}.weight" for n in touched}


@pytest.mark.parametrize("name", ["wanda", "gradual", "movement"])
def test_a_scope_without_layers_is_refused(name: str, teacher: CompressedModel) -> None:
    with pytest.raises(ConfigError, match="scope=decoder matches no Linear layer; expected all,"):
        pruner(name, "scope=decoder").check(teacher.module)


def test_expectations_follow_a_weight_that_is_cut(
    teacher: CompressedModel, context: Contexts
) -> None:
    sparse = pruner("magnitude").prune(teacher, context(teacher))
    cut = halve().prune(sparse, context(teacher))
    check_history(cut.history, cut.module.named_parameters())
    name = "bert.encoder.layer.0.output.dense.weight"
    weight = cut.module.get_parameter(name)
    assert live_zeros(sparse.history)[name] == 16 * 32 // 2
    assert live_zeros(cut.history)[name] == int((weight == 0).sum())
    with torch.no_grad():
        weight[weight == 0] = 1.0
    with pytest.raises(AssertionError, match=r"layer\.0\.output\.dense\.weight has 0 zeros"):
        check_history(cut.history, cut.module.named_parameters())


def test_a_wrong_shape_breaks_a_expectation(teacher: CompressedModel, context: Contexts) -> None:
    cut = halve().prune(teacher, context(teacher))
    with pytest.raises(AssertionError, match=r"has shape \(32, 16\), \(16, 16\) was expected"):
        check_history(cut.history, teacher.module.named_parameters())


def test_recovery_holds_the_zeros_of_earlier_pruners(
    teacher: CompressedModel, context: Contexts
) -> None:
    sparse = pruner("wanda").prune(teacher, context(teacher))
    recovered = halve(epochs=1).prune(sparse, context(teacher))
    held = held_masks(recovered.module, recovered.history)
    assert len(held) == len(block_linears(teacher.module))
    bare = halve().prune(sparse, context(teacher))
    assert_trained_with_zeros_held(bare.module, recovered.module)


def test_pruning_and_recovery_are_steps_with_a_curve_each(
    teacher: CompressedModel, context: Contexts
) -> None:
    settings = "gradual training.batch_size=8 recovery.batch_size=12 recovery.epochs=1"
    made = pruner(*settings.split()).prune(teacher, context(teacher))
    assert [step.stage for step in made.history] == ["teacher", "pruner", "pruner"]
    _, pruning, recovery = made.history
    steps = [[point["step"] for point in step.notes["curve"]] for step in (pruning, recovery)]
    assert steps == [[1, 2, 3, 4, 5, 6], [1, 2]]  # 24 rows, twice 3 batches and once 2
    assert pruning.expected_zeros
    assert recovery.settings["kind"] == "Distillation"
    assert not recovery.expected_zeros


@pytest.mark.parametrize(
    "choice",
    [
        "magnitude",
        "wanda",
        "sparsegpt",
        "heads",
        "neurons",
        "layers",
        "hidden sparsity=0.25 round_to=4",
        "vocabulary",
        "lowrank",
        "lowrank weighting.method=input",
        "lowrank weighting.method=activation",
        "lowrank weighting.method=fisher",
    ],
)
def test_peak_memory_is_one_copy_and_one_layers_work(
    choice: str, teacher: CompressedModel, context: Contexts
) -> None:
    """What is promised: the copy, one block's inputs and Hessians, one layer's scores, no more."""
    pruned = pruner(*choice.split()).prune(teacher, context(teacher))
    peak = pruned.history[-1].notes[PEAK_MEMORY]
    module, rows = teacher.module, context(teacher).data.calibration
    state = [*module.parameters(), *module.buffers()]
    copy_bytes = sum(t.numel() * t.element_size() for t in state)
    lengths = rows.encode(teacher.tokenizer)["length"][:]
    tokens, longest = sum(lengths), max(lengths)
    linears = [weight_matrix(part) for part in block_linears(module).values()]
    per_block = linears[: len(linears) // 4]
    widest = max(weight.shape[1] for weight in per_block)
    inputs = 4 * tokens * 16 + 2 * 4 * sum(n * n for n in lengths)  # hidden states and masks
    passing = 4 * longest * (8 * widest + 4 * longest)  # one row's activations in one block
    hessians = 8 * sum(weight.shape[1] ** 2 for weight in per_block)  # lowrank's are float64
    scratch = 4 * 8 * max(w.numel() for w in per_block)  # scores and their order
    bound = copy_bytes + inputs + passing + hessians + scratch
    assert 0 < peak <= bound
    assert bound < 2 * copy_bytes, "a second copy of the model would not fit"
