from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim.optimizer import register_optimizer_step_pre_hook
from transformers.pytorch_utils import Conv1D

from compress.config.errors import UserError
from compress.interfaces import CompressedModel
from compress.pruner.components.masks import keep_highest
from compress.pruner.movement import LearnedMask, keep_with_ties
from compress.training import train
from compress.transformer.blocks import block_linears
from tests.pruner.made import Contexts, pruner

# 24 rows in batches of 8: 3 steps; the rate is 0 in the first.
FAST = (
    "training.epochs=1",
    "training.batch_size=8",
    "training.learning_rate=0.01",
)


def masks_in(module: nn.Module) -> list[LearnedMask]:
    return [part for part in module.modules() if isinstance(part, LearnedMask)]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """At each training step: the fraction masked, the penalty in the loss, whether scores are 0."""
    seen: list[dict[str, Any]] = []

    def spy(
        module: Any, tokenizer: Any, data: Any, training: Any, objective: Any, **rest: Any
    ) -> Any:
        def loss(model: Any, inputs: Any, rows: Tensor) -> Tensor:
            learned = masks_in(module)
            mask = torch.cat([part.mask.flatten() for part in learned])
            value: Tensor = objective.loss(model, inputs, rows)
            unmoved = not any(part.scores.any() for part in learned)
            cleared = all(part.scores.grad is None for part in learned)
            sparsity = float((~mask).float().mean())
            seen.append(
                {"sparsity": sparsity, "loss": value, "unmoved": unmoved, "cleared": cleared}
            )
            return value

        recorded = dataclasses.replace(objective, loss=loss)
        return train.train_(module, tokenizer, data, training, recorded, **rest)

    monkeypatch.setattr("compress.pruner.components.trained.train_", spy)
    return seen


@pytest.mark.parametrize("kind", [nn.Linear, Conv1D])
def test_gradients_by_hand(kind: type[nn.Module]) -> None:
    """y = W'x, L = y₁ − y₂, x = (1, 2): ∂L/∂W' = [[1, 2], [−1, −2]]."""
    weight = torch.tensor([[1.0, -2.0], [3.0, 4.0]])
    mask = torch.tensor([[True, False], [True, True]])
    turn: Callable[[Tensor], Tensor] = (lambda t: t.T) if kind is Conv1D else (lambda t: t)
    layer = kind(2, 2)
    layer.weight = nn.Parameter(turn(weight).clone())
    nn.init.zeros_(layer.get_parameter("bias"))
    learned = LearnedMask(layer.get_parameter("weight"))
    parametrize.register_parametrization(layer, "weight", learned)
    learned.mask = turn(mask)
    y = layer(torch.tensor([[1.0, 2.0]]))
    assert y.tolist() == [[1.0, 11.0]]  # 1 · 1, and 3 · 1 + 4 · 2
    (y[0, 0] - y[0, 1]).backward()
    original = layer.get_parameter("parametrizations.weight.original")
    assert original.grad is not None
    assert learned.scores.grad is not None
    assert turn(original.grad).tolist() == [[1.0, 0.0], [-1.0, -2.0]]  # ∂L/∂W' ⊙ M
    assert turn(learned.scores.grad).tolist() == [[1.0, -4.0], [-3.0, -8.0]]  # ∂L/∂W' ⊙ W


def test_moving_away_from_zero_outranks_being_large() -> None:
    """Gradient descent on L = −w₁ + w₂ grows the small w₁ and shrinks the large w₂."""
    layer = nn.Linear(2, 1, bias=False)
    layer.weight = nn.Parameter(torch.tensor([[0.1, 2.0]]))
    learned = LearnedMask(layer.weight)
    parametrize.register_parametrization(layer, "weight", learned)
    optimizer = torch.optim.SGD([*layer.parameters(), learned.scores], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        layer(torch.tensor([-1.0, 1.0])).sum().backward()
        optimizer.step()
    weight = layer.get_parameter("parametrizations.weight.original").detach()
    assert weight.tolist() == [[pytest.approx(0.4), pytest.approx(1.7)]]
    assert keep_highest(learned.scores.detach(), 0.5).tolist() == [[True, False]]
    assert keep_highest(weight.abs(), 0.5).tolist() == [[False, True]]


@pytest.mark.parametrize(
    ("rank", "sparsity", "kept"),
    [
        ([3.0, 1.0, 2.0, 4.0], 0.5, [1, 0, 0, 1]),
        ([0.0, 0.0, 0.0, 0.0], 0.5, [1, 1, 1, 1]),  # nothing moved: nothing goes
        ([0.0, -1.0, 0.0, 5.0], 0.5, [1, 0, 1, 1]),
        ([0.0, -torch.inf, 1.0, 5.0], 0.25, [1, 0, 1, 1]),
        ([3.0, 1.0, 2.0, 4.0], 0.0, [1, 1, 1, 1]),
        ([3.0, 1.0, 2.0, 4.0], 0.999, [0, 0, 0, 1]),
    ],
)
def test_ties_with_the_lowest_kept_stay(
    rank: list[float], sparsity: float, kept: list[int]
) -> None:
    assert keep_with_ties(torch.tensor(rank), sparsity).int().tolist() == kept


def test_topk_follows_the_cubic_schedule_once_scores_have_moved(
    teacher: CompressedModel, context: Contexts, watched: list[dict[str, Any]]
) -> None:
    """6 steps, and the end after 4 of them."""
    made = pruner(
        "movement", *FAST, "schedule.start=0.0", "schedule.end=0.667", "training.batch_size=4"
    )
    made.prune(teacher, context(teacher))
    assert [step["unmoved"] for step in watched] == [True] * 2 + [False] * 4
    assert [step["sparsity"] for step in watched[:2]] == [0.0, 0.0], "scheduled, but no score moved"
    expected = [0.5 * 7 / 8, 0.5 * 63 / 64, 0.5, 0.5]  # 1/2, 3/4 and all of the way are gone
    assert [step["sparsity"] for step in watched[2:]] == pytest.approx(expected, abs=3e-3)
    assert all(step["cleared"] for step in watched), "no step's gradient is left for the next"


def test_soft_penalty_by_hand(
    teacher: CompressedModel, context: Contexts, watched: list[dict[str, Any]]
) -> None:
    """At step 1 the scores are still 0: λ · share · σ(0) = 8 · (1 − (1/2)³) · 1/2 = 3.5."""
    losses = {}
    for penalty in (0, 8):
        watched.clear()
        pruner("movement", *FAST,
            "selection.method=soft", f"selection.penalty={penalty}",
            "threshold=global",
            "schedule.start=0.0", "schedule.end=0.6666666666666666",
        ).prune(teacher, context(teacher))  # fmt: skip
        losses[penalty] = [float(step["loss"].detach()) for step in watched[:2]]
    assert losses[8][0] == losses[0][0]
    assert losses[8][1] - losses[0][1] == pytest.approx(3.5, abs=1e-5)


def test_notes_say_what_the_threshold_alone_would_drop(
    teacher: CompressedModel, context: Contexts
) -> None:
    """Scores pushed down at a rate of 2 fall below logit(0.1) = −2.2; at 0.01 none can."""
    found = {}
    for penalty, rate in ((400, 2.0), (0, 0.01)):
        soft = pruner("movement", *FAST,
            "selection.method=soft", "threshold=global", "sparsity=0.5",
            f"selection.penalty={penalty}", f"selection.learning_rate={rate}",
        )  # fmt: skip
        step = soft.prune(teacher, context(teacher)).history[-1]
        found[penalty] = step.notes["threshold_sparsity"]
    assert found[400] > 0.9
    assert found[0] == 0.0


def test_the_optimizer_has_weights_and_scores_once_each(
    teacher: CompressedModel, context: Contexts
) -> None:
    groups: list[list[dict[str, Any]]] = []

    def record(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        groups.append([dict(group) for group in optimizer.param_groups])

    handle = register_optimizer_step_pre_hook(record)
    try:
        pruner("movement", *FAST, "selection.learning_rate=0.07").prune(teacher, context(teacher))
    finally:
        handle.remove()
    decayed, plain, scores = groups[1]
    tensors = [id(tensor) for group in groups[1] for tensor in group["params"]]
    assert len(tensors) == len(set(tensors))
    count = len(list(teacher.module.parameters()))
    assert len(decayed["params"]) + len(plain["params"]) == count
    shapes = [part.weight.shape for part in block_linears(teacher.module).values()]
    assert [score.shape for score in scores["params"]] == shapes
    assert (decayed["initial_lr"], scores["initial_lr"]) == (0.01, 0.07)
    assert (decayed["weight_decay"], scores["weight_decay"]) == (0.01, 0.0)
    assert scores["lr"] == pytest.approx(7 * decayed["lr"])


def test_scores_that_never_move_are_refused(teacher: CompressedModel, context: Contexts) -> None:
    """One step in all, and behind a head of zeros no gradient reaches them."""
    torch.nn.init.zeros_(teacher.module.classifier.weight)
    with pytest.raises(UserError, match=r"no score of bert\.encoder\.layer\.0.* moved .* got 0\.1"):
        pruner("movement", *FAST, "training.epochs=0.1").prune(teacher, context(teacher))
