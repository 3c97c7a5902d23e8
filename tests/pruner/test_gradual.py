from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from compress.config.errors import ConfigError
from compress.interfaces import CompressedModel, StageContext
from compress.measure.sparsity import check_history
from compress.pruner.gradual import Gradual
from compress.pruner.magnitude import Magnitude
from compress.training import train
from compress.transformer.blocks import block_linears, scoped_linears
from tests.configs import settings_of

Contexts = Callable[[CompressedModel], StageContext]
# 24 rows in batches of 8: 3 steps. The rate is high so that weights change order.
FAST = (
    "pruner.training.epochs=1",
    "pruner.training.batch_size=8",
    "pruner.training.learning_rate=0.03",
    "pruner.training.warmup_fraction=0.0",
)


def gradual(*overrides: str) -> Gradual:
    made = settings_of("pruner", "gradual", *FAST, *overrides)
    assert isinstance(made, Gradual)
    return made


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Tensor]]:
    """The block weights as the forward pass of each training step sees them."""
    seen: list[dict[str, Tensor]] = []

    def spy(
        module: Any, tokenizer: Any, data: Any, training: Any, objective: Any, **rest: Any
    ) -> Any:
        def loss(model: Any, inputs: Any, rows: Tensor) -> Tensor:
            linears = block_linears(module).items()
            seen.append({name: part.weight.detach().clone() for name, part in linears})
            value: Tensor = objective.loss(model, inputs, rows)
            return value

        recorded = dataclasses.replace(objective, loss=loss)
        return train.train_(module, tokenizer, data, training, recorded, **rest)

    monkeypatch.setattr("compress.pruner.components.trained.train_", spy)
    return seen


def zeros_of(weights: dict[str, Tensor]) -> float:
    zeros = sum(int((weight == 0).sum()) for weight in weights.values())
    return zeros / sum(weight.numel() for weight in weights.values())


def test_masks_grow_on_schedule_and_each_lies_within_the_one_before(
    teacher: CompressedModel, context: Contexts, watched: list[dict[str, Tensor]]
) -> None:
    """Updates after 1, 2, 3 and 4 of 6 steps: cubic to 1/2, so 0, 19/54, 26/54, 1/2 are zero."""
    pruner = gradual(
        "pruner.schedule.start=0.17",
        "pruner.schedule.end=0.67",
        "pruner.schedule.frequency=1",
        "pruner.training.batch_size=4",
    )
    pruned = pruner.prune(teacher, context(teacher))
    growth = [0.0, 0.5 * 19 / 27, 0.5 * 26 / 27, 0.5]
    assert pruned.history[-1].notes["updates"] == [
        [step, pytest.approx(sparsity)] for step, sparsity in zip((1, 2, 3, 4), growth, strict=True)
    ]
    expected = [0.0, *growth, 0.5]
    assert [zeros_of(weights) for weights in watched] == pytest.approx(expected, abs=2e-3)
    for before, after in itertools.pairwise(watched):
        assert all((after[name][before[name] == 0] == 0).all() for name in before)
        assert any(not torch.equal(before[name], after[name]) for name in before), "it trains"


@pytest.mark.parametrize(
    ("overrides", "steps"),
    [
        (
            ("pruner.schedule.start=0.0", "pruner.schedule.end=1.0", "pruner.schedule.frequency=2"),
            [0, 2, 3],
        ),
        (("pruner.training.epochs=0.5", "pruner.schedule.end=1.0"), [0, 2]),
        (
            ("pruner.training.epochs=0.1", "pruner.schedule.start=0.9", "pruner.schedule.end=1.0"),
            [1],
        ),
        (("pruner.schedule.start=0.0", "pruner.schedule.end=0.01"), [0]),
        (("pruner.threshold=global", "pruner.schedule.frequency=1"), [0, 1, 2]),
        (("pruner.schedule.curve=exponential", "pruner.schedule.start=0.4"), [1, 2]),
        (
            (
                "pruner.schedule.curve=linear",
                "pruner.schedule.start=0.2",
                "pruner.schedule.end=0.99",
            ),
            [1, 3],
        ),
    ],
)
def test_it_ends_exactly_on_the_target_sparsity(
    teacher: CompressedModel, context: Contexts, overrides: tuple[str, ...], steps: list[int]
) -> None:
    pruned = gradual("pruner.sparsity=0.3", *overrides).prune(teacher, context(teacher))
    step = pruned.history[-1]
    assert [update[0] for update in step.notes["updates"]] == steps
    assert step.notes["updates"][-1][1] == 0.3
    weights = [linear.weight for linear in block_linears(pruned.module).values()]
    zeros = [int((weight == 0).sum()) for weight in weights]
    if "pruner.threshold=global" in overrides:
        assert sum(zeros) == round(0.3 * sum(weight.numel() for weight in weights))
        assert len({round(z / w.numel(), 2) for z, w in zip(zeros, weights, strict=True)}) > 1
    else:
        assert zeros == [round(0.3 * weight.numel()) for weight in weights]
    assert list(step.expected_zeros.values()) == zeros


def test_start_sparsity_at_zero_comes_before_the_first_forward_pass(
    teacher: CompressedModel, context: Contexts, watched: list[dict[str, Tensor]]
) -> None:
    pruner = gradual(
        "pruner.schedule.start=0.0",
        "pruner.schedule.start_sparsity=0.25",
        "pruner.schedule.frequency=100",
    )
    pruner.prune(teacher, context(teacher))
    assert zeros_of(watched[0]) == 0.25


def test_it_chooses_by_the_trained_weights(teacher: CompressedModel, context: Contexts) -> None:
    """One shot of magnitude pruning on the weights as they were would drop others."""
    ours = gradual("pruner.schedule.end=1.0").prune(teacher, context(teacher))
    shot = settings_of("pruner", "magnitude")
    assert isinstance(shot, Magnitude)
    other = shot.prune(teacher, context(teacher))
    pairs = zip(*(block_linears(m.module).values() for m in (ours, other)), strict=True)
    assert any(not torch.equal(a.weight == 0, b.weight == 0) for a, b in pairs)


def test_zeros_of_an_earlier_pruner_are_held(teacher: CompressedModel, context: Contexts) -> None:
    ctx = context(teacher)
    first = settings_of("pruner", "magnitude", "pruner.sparsity=0.4")
    assert isinstance(first, Magnitude)
    before = first.prune(teacher, ctx)
    after = gradual("pruner.scope=ffn", "pruner.sparsity=0.6").prune(before, ctx)
    check_history(after.history, after.module.named_parameters())
    inside = scoped_linears(after.module, "ffn")
    for name, linear in block_linears(before.module).items():
        weight = after.module.get_parameter(f"{name}.weight")
        assert (weight[linear.weight == 0] == 0).all()
        share = 0.6 if name in inside else 0.4
        assert int((weight == 0).sum()) == round(share * weight.numel())


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("pruner.sparsity=1.0", r"pruner\.sparsity must be in \[0, 1\), got 1"),
        (
            "pruner.schedule.start_sparsity=0.6",
            r"start_sparsity must be at most sparsity=0\.5, got 0\.6",
        ),
        ("pruner.threshold=row", "threshold must be one of layer, global; got row"),
        ("pruner.schedule.curve=step", "curve must be one of linear, cubic, exponential; got step"),
        ("pruner.schedule.start=0.7", r"start must be below .*end=0\.7, got 0\.7"),
        ("pruner.schedule.end=1.1", r"end must be in \[0, 1\], got 1\.1"),
        ("pruner.schedule.frequency=0", "frequency must be > 0, got 0"),
        ("pruner.training.epochs=0", r"pruner\.training\.epochs must be > 0"),
        ("pruner.training.patience=3", "patience must be null: .*; got 3"),
    ],
)
def test_bad_settings_are_refused(override: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        gradual(override)


def test_a_scope_that_names_nothing_is_refused(teacher: CompressedModel) -> None:
    with pytest.raises(ConfigError, match="scope=decoder matches no Linear layer"):
        gradual("pruner.scope=decoder").check(teacher.module)
