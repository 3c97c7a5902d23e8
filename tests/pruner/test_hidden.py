from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from compress.config.errors import ConfigError
from compress.interfaces import CompressedModel
from compress.measure.sparsity import check_history, live_shapes, live_zeros
from compress.training.distillation import held_masks
from compress.transformer.blocks import block_linears, known_blocks
from compress.transformer.calibration import calibration_rows
from compress.transformer.residual import residual_axes, residual_norms
from tests.pruner.made import Contexts, Teachers, pruner


def expect_channels(teacher: CompressedModel, pruned: CompressedModel, kept: list[int]) -> None:
    """That all parameters are the teacher's on these channels, and otherwise untouched."""
    axes = residual_axes(teacher.module)
    for name, parameter in teacher.module.named_parameters():
        expected = parameter
        for axis in axes.get(name, ()):
            expected = expected.index_select(axis, torch.tensor(kept))
        assert torch.equal(expected, pruned.module.get_parameter(name)), name


@pytest.mark.parametrize("architecture", ["bert", "gpt2", "vit", "llama"])
def test_activation_and_l1_rank_by_what_they_say(
    architecture: str, teachers: Teachers, context: Contexts
) -> None:
    teacher = teachers(architecture)
    quiet, small = [0, 5, 10, 15], [1, 2, 3, 15]
    with torch.no_grad():
        for norm in residual_norms(teacher.module).values():
            norm.get_parameter("weight")[quiet] = 0.01
        axes = residual_axes(teacher.module)
        for name in block_linears(teacher.module):
            (axis,) = axes[f"{name}.weight"]
            weight = teacher.module.get_parameter(f"{name}.weight")
            weight.movedim(axis, 0)[small] *= 0.01
    ctx = context(teacher)
    for importance, gone in (("activation", quiet), ("l1", small)):
        pruned = pruner("hidden", f"importance={importance}").prune(teacher, ctx)
        expect_channels(teacher, pruned, [i for i in range(16) if i not in gone])
        assert pruned.history[-1].notes["hidden_width"] == {"before": 16, "kept": 12}


def test_activation_is_the_mean_over_all_norms_and_tokens(
    teacher: CompressedModel, context: Contexts
) -> None:
    """A channel that is loud in one layer and for few tokens counts by its mean."""
    ctx = context(teacher)
    with torch.no_grad():
        for index, parameter in enumerate(teacher.module.parameters()):
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index))
            parameter.add_(0.3 * noise)
    total = torch.zeros(16)
    for row in calibration_rows(teacher.module, teacher.tokenizer, ctx.data.calibration):
        with torch.no_grad():
            states = teacher.module(**row, output_hidden_states=True).hidden_states
        for block, inputs in zip(known_blocks(teacher.module), states[:-1], strict=True):
            with torch.no_grad():
                attended = block.module.attention(inputs)[0]
                written = block.module.output(block.module.intermediate(attended), attended)
            total += (attended[0].abs() + written[0].abs()).sum(dim=0)
    kept = sorted(total.argsort(descending=True)[:12].tolist())
    hooks = sum(len(part._forward_hooks) for part in teacher.module.modules())
    pruned = pruner("hidden").prune(teacher, ctx)
    expect_channels(teacher, pruned, kept)
    assert sum(len(part._forward_hooks) for part in pruned.module.modules()) == hooks


def test_random_channels_are_the_seeds(teacher: CompressedModel, context: Contexts) -> None:
    ctx = context(teacher)
    one, same = (pruner("hidden", "importance=random").prune(teacher, ctx).module for _ in range(2))
    other = pruner("hidden", "importance=random").prune(teacher, replace(ctx, seed=1)).module
    name = "bert.embeddings.word_embeddings.weight"
    assert torch.equal(one.get_parameter(name), same.get_parameter(name))
    assert not torch.equal(one.get_parameter(name), other.get_parameter(name))


@pytest.mark.parametrize(
    ("sparsity", "round_to", "kept"),
    [
        (0.25, 1, 12),
        (0.25, 4, 12),
        (0.3, 4, 12),
        (0.4, 4, 8),
        (0.9, 1, 2),
        (0.3, 16, 16),
        (0.0, 8, 16),
    ],
)
def test_kept_width_is_the_nearest_multiple(
    sparsity: float, round_to: int, kept: int, teacher: CompressedModel
) -> None:
    made = pruner("hidden", f"sparsity={sparsity}", f"round_to={round_to}")
    if kept == 16 and sparsity:
        with pytest.raises(
            ConfigError, match=r"round_to=16 would keep 16 of 16 channels; expected"
        ):
            made.check(teacher.module)
        return
    skeleton = made.check(teacher.module.to("meta"))
    assert {block.width for block in known_blocks(skeleton)} == {kept}


@pytest.mark.parametrize(("sparsity", "round_to"), [(0.99, 1), (0.8, 8), (0.0, 32), (0.1, 20)])
def test_a_width_that_cannot_be_is_refused(
    sparsity: float, round_to: int, teacher: CompressedModel, context: Contexts
) -> None:
    made = pruner("hidden", f"sparsity={sparsity}", f"round_to={round_to}")
    with pytest.raises(ConfigError, match=rf"round_to={round_to} would keep (0|20) of 16 channels"):
        made.check(teacher.module)
    with pytest.raises(ConfigError, match="of 16 channels"):
        made.prune(teacher, context(teacher))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sparsity=1.0", r"pruner.sparsity must be in \[0, 1\), got 1"),
        ("sparsity=-0.1", r"pruner.sparsity must be in \[0, 1\)"),
        ("round_to=0", "pruner.round_to must be > 0, got 0"),
        ("importance=l2", "pruner.importance must be one of activation, l1, random; got l2"),
    ],
)
def test_bad_settings_are_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pruner("hidden", override)


def test_masks_of_an_earlier_pruner_stay_expected_and_held(
    teacher: CompressedModel, context: Contexts
) -> None:
    ctx = context(teacher)
    wanda = pruner("wanda")
    masked = wanda.prune(teacher, ctx)
    pruned = pruner("hidden").prune(masked, ctx)
    check_history(pruned.history, pruned.module.named_parameters())
    up = "bert.encoder.layer.0.intermediate.dense.weight"
    weight = pruned.module.get_parameter(up)
    zeros = int((weight == 0).sum())
    assert 0 < live_zeros(pruned.history)[up] == zeros < live_zeros(masked.history)[up]
    assert int((~held_masks(pruned.module, pruned.history)[weight]).sum()) == zeros
    assert live_shapes(pruned.history)["bert.embeddings.word_embeddings.weight"] == (1000, 12)
    assert live_shapes(pruned.history)["bert.pooler.dense.weight"] == (12, 12)
    with pytest.raises(AssertionError, match="was expected"):
        check_history(pruned.history, teacher.module.named_parameters())
    with torch.no_grad():
        nn.init.ones_(pruned.module.get_parameter(up))
    with pytest.raises(
        AssertionError, match=f"intermediate.dense.weight has 0 zeros, {zeros} were"
    ):
        check_history(pruned.history, pruned.module.named_parameters())


def test_a_narrowed_model_can_be_narrowed_and_trained(
    teacher: CompressedModel, context: Contexts
) -> None:
    ctx = context(teacher)
    once = pruner("hidden").prune(teacher, ctx)
    recovery = ("recovery.epochs=1", "recovery.learning_rate=0.01", "recovery.batch_size=8")
    bare, trained = (pruner("hidden", *words).prune(once, ctx).module for words in ((), recovery))
    name = "classifier.weight"
    assert bare.get_parameter(name).shape == trained.get_parameter(name).shape == (2, 8)
    assert not torch.equal(bare.get_parameter(name), trained.get_parameter(name))
