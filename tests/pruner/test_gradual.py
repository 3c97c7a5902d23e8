from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from compress.interfaces import CompressedModel
from compress.training import train
from compress.transformer.blocks import block_linears
from tests.pruner.made import Contexts, pruner

# 24 rows in batches of 8: 3 steps. The rate is high so that weights change order.
FAST = (
    "training.epochs=1",
    "training.batch_size=8",
    "training.learning_rate=0.03",
    "training.warmup_fraction=0.0",
)


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
    made = pruner(
        "gradual",
        *FAST,
        "schedule.start=0.17",
        "schedule.end=0.67",
        "schedule.frequency=1",
        "training.batch_size=4",
    )
    pruned = made.prune(teacher, context(teacher))
    growth = [0.0, 0.5 * 19 / 27, 0.5 * 26 / 27, 0.5]
    assert pruned.history[-1].notes["updates"] == [
        [step, pytest.approx(sparsity)] for step, sparsity in zip((1, 2, 3, 4), growth, strict=True)
    ]
    expected = [0.0, *growth, 0.5]
    assert [zeros_of(weights) for weights in watched] == pytest.approx(expected, abs=2e-3)
    for before, after in itertools.pairwise(watched):
        assert all((after[name][before[name] == 0] == 0).all() for name in before)
        assert any(not torch.equal(before[name], after[name]) for name in before), "it trains"


def test_start_sparsity_at_zero_comes_before_the_first_forward_pass(
    teacher: CompressedModel, context: Contexts, watched: list[dict[str, Tensor]]
) -> None:
    made = pruner(
        "gradual",
        *FAST,
        "schedule.start=0.0",
        "schedule.start_sparsity=0.25",
        "schedule.frequency=100",
    )
    made.prune(teacher, context(teacher))
    assert zeros_of(watched[0]) == 0.25
