"""What gradual and movement pruning share: they train, and end exactly on the asked sparsity."""

from __future__ import annotations

import pytest
import torch

from compress.config.errors import ConfigError
from compress.interfaces import CompressedModel
from compress.measure.sparsity import check_history
from compress.transformer.blocks import block_linears, scoped_linears
from tests.pruner.made import Contexts, Teachers, pruner

METHODS = ("gradual", "movement")
SHORT = ("training.epochs=1", "training.batch_size=8")  # 24 rows: 3 steps
# Rates at which weights change order in so few; movement warms up from a rate of 0.
FAST = {
    "gradual": (*SHORT, "training.learning_rate=0.03", "training.warmup_fraction=0.0"),
    "movement": (*SHORT, "training.learning_rate=0.01"),
}


@pytest.mark.parametrize(
    ("method", "architecture", "overrides", "steps"),
    [
        ("gradual", "bert", "schedule.start=0.0 schedule.end=1.0 schedule.frequency=2", [0, 2, 3]),
        ("gradual", "bert", "training.epochs=0.5 schedule.end=1.0", [0, 2]),
        ("gradual", "bert", "training.epochs=0.1 schedule.start=0.9 schedule.end=1.0", [1]),
        ("gradual", "bert", "schedule.start=0.0 schedule.end=0.01", [0]),
        ("gradual", "bert", "threshold=global schedule.frequency=1", [0, 1, 2]),
        ("gradual", "bert", "schedule.curve=exponential schedule.start=0.4", [1, 2]),
        ("gradual", "bert", "schedule.curve=linear schedule.start=0.2 schedule.end=0.99", [1, 3]),
        ("movement", "bert", "", None),
        ("movement", "bert", "threshold=global", None),
        ("movement", "gpt2", "threshold=global", None),
        ("movement", "bert", "selection.method=soft threshold=global", None),
        ("movement", "gpt2", "schedule.end=1.0 training.epochs=0.9", None),
        ("movement", "bert", "training.epochs=0.6", None),
    ],
)
def test_it_ends_exactly_on_the_target_sparsity_and_plain(
    method: str,
    architecture: str,
    overrides: str,
    steps: list[int] | None,
    teachers: Teachers,
    context: Contexts,
) -> None:
    teacher = teachers(architecture)
    made = pruner(method, *FAST[method], "sparsity=0.3", *overrides.split())
    pruned = made.prune(teacher, context(teacher))
    step = pruned.history[-1]
    if steps is not None:
        assert [update[0] for update in step.notes["updates"]] == steps
        assert step.notes["updates"][-1][1] == 0.3
    weights = [linear.weight for linear in block_linears(pruned.module).values()]
    zeros = [int((weight == 0).sum()) for weight in weights]
    if "threshold=global" in overrides:
        assert sum(zeros) == round(0.3 * sum(weight.numel() for weight in weights))
        assert len({round(z / w.numel(), 2) for z, w in zip(zeros, weights, strict=True)}) > 1
    else:
        assert zeros == [round(0.3 * weight.numel()) for weight in weights]
    assert list(step.expected_zeros.values()) == zeros
    kinds = [[type(part) for part in m.module.modules()] for m in (pruned, teacher)]
    assert kinds[0] == kinds[1]
    assert pruned.module.state_dict().keys() == teacher.module.state_dict().keys()


@pytest.mark.parametrize("method", METHODS)
def test_it_chooses_by_the_training_and_not_by_the_weights_before(
    method: str, teacher: CompressedModel, context: Contexts
) -> None:
    made = pruner(method, *FAST[method], "schedule.end=1.0").prune(teacher, context(teacher))
    shot = pruner("magnitude").prune(teacher, context(teacher))
    pairs = zip(*(block_linears(m.module).values() for m in (made, shot)), strict=True)
    agree = torch.cat([((a.weight == 0) == (b.weight == 0)).flatten() for a, b in pairs])
    assert agree.float().mean() < {"gradual": 1.0, "movement": 0.7}[method]


@pytest.mark.parametrize("method", METHODS)
def test_zeros_of_an_earlier_pruner_are_held(
    method: str, teacher: CompressedModel, context: Contexts
) -> None:
    ctx = context(teacher)
    before = pruner("magnitude", "sparsity=0.4").prune(teacher, ctx)
    after = pruner(method, *FAST[method], "scope=ffn", "sparsity=0.6").prune(before, ctx)
    check_history(after.history, after.module.named_parameters())
    inside = scoped_linears(after.module, "ffn")
    for name, linear in block_linears(before.module).items():
        weight = after.module.get_parameter(f"{name}.weight")
        assert (weight[linear.weight == 0] == 0).all()
        share = 0.6 if name in inside else 0.4
        assert int((weight == 0).sum()) == round(share * weight.numel())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("sparsity=1.0", r"pruner\.sparsity must be in \[0, 1\), got 1"),
        ("threshold=row", "threshold must be one of layer, global; got row"),
        ("schedule.start=0.95", r"start must be below .*end=0\.\d, got 0\.95"),
        ("schedule.end=1.1", r"end must be in \[0, 1\], got 1\.1"),
        ("training.epochs=0", r"\.training\.epochs must be > 0"),
        ("training.patience=3", "patience must be null: .*; got 3"),
        ("training.average=0.9", r"\.training\.average must be null: .*; got 0\.9"),
    ],
)
def test_bad_settings_are_refused(method: str, override: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        pruner(method, *SHORT, override)


@pytest.mark.parametrize(
    ("method", "override", "reason"),
    [
        ("gradual", "schedule.start_sparsity=0.6", r"at most sparsity=0\.5, got 0\.6"),
        ("gradual", "schedule.curve=step", "curve must be one of linear, cubic, exponential; got"),
        ("gradual", "schedule.frequency=0", "frequency must be > 0, got 0"),
        ("movement", "selection.method=hard", "method must be one of topk, soft; got hard"),
        ("movement", "selection.method=soft", "soft requires threshold=global, got threshold=lay"),
        ("movement", "selection.penalty=-1", "penalty must be >= 0, got -1"),
        ("movement", "selection.cutoff=0.5", r"cutoff must be in \[0, 0\.5\), got 0\.5"),
        ("movement", "selection.learning_rate=0", "learning_rate must be > 0, got 0"),
    ],
)
def test_bad_settings_of_one_method_are_refused(method: str, override: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        pruner(method, override)
