"""The training of a super-net: which sub-nets learn in a step, from whom, and what of it moves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compress.device.cpu import Cpu
from compress.interfaces import CompressedModel, StageContext
from compress.shaping.subnets import Subnets
from compress.shaping.subshape import SubShape, every_shape
from compress.student.components.sandwich import Sandwich, drawn, sandwich_objective
from compress.training.distillation import teacher_logits
from tests.pruner.made import Contexts, Teachers
from tests.shaping.made import noisy, sub

SIZES = {"depth": (4, 2), "neurons": (32, 20, 8)}
SHAPES = every_shape(SIZES)
LARGEST, SMALLEST = SHAPES[0], SHAPES[-1]


@pytest.fixture(autouse=True)
def _exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some processors train in bfloat16."""
    monkeypatch.setattr(Cpu, "training_dtype", lambda _: torch.float32)


def sandwich(**changes: Any) -> Sandwich:
    settings = {
        **{"sampled": 2, "targets": "teacher", "temperature": 1.0, "alpha": 1.0},
        **{"epochs": 1.0, "learning_rate": 1e-3, "batch_size": 8, "warmup_fraction": 0.0},
        **{"schedule": "linear", "patience": None, "average": None, "dropout": None},
        **{"label_smoothing": 0.0, "logit_mse": 0.0, "teachers": None},
    }
    return Sandwich(**{**settings, **changes})


def rows_of(ctx: StageContext, count: int = 8) -> tuple[dict[str, Tensor], Tensor]:
    """The first train rows as a batch, and their numbers."""
    rows = ctx.data.train
    encoded = rows.encode(ctx.teacher.tokenizer).remove_columns("length")
    batch = rows.collate(ctx.teacher.tokenizer, [encoded[number] for number in range(count)])
    return batch, torch.arange(count)


def student_of(teacher: CompressedModel) -> Any:
    """A super-net that is none of its teacher."""
    return noisy(teacher).module.eval()


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """-Σ q log p, averaged over rows: the distillation loss at T = 1, but for a constant."""
    return -(targets.softmax(-1) * logits.log_softmax(-1)).sum(-1).mean()


def gradients(module: nn.Module) -> dict[str, Tensor]:
    found = {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}
    module.zero_grad(set_to_none=True)
    return found


def test_the_smallest_and_others_between_it_and_the_largest_are_drawn() -> None:
    assert (sub(), sub(depth=2, neurons=8)) == (LARGEST, SMALLEST)
    steps = [drawn(SHAPES, 2, seed=0, step=step) for step in range(40)]
    assert all(step[0] == SMALLEST and len(set(step)) == 3 for step in steps)
    others = [shape for step in steps for shape in step[1:]]
    assert set(others) == set(SHAPES[1:-1])
    assert steps == [drawn(SHAPES, 2, seed=0, step=step) for step in range(40)]
    assert steps != [drawn(SHAPES, 2, seed=1, step=step) for step in range(40)]


@pytest.mark.parametrize(
    ("shapes", "count", "expected"),
    [
        (SHAPES, 0, (SMALLEST,)),
        (SHAPES, 99, SHAPES[1:]),
        ((LARGEST, SMALLEST), 2, (SMALLEST,)),
    ],
)
def test_no_more_are_drawn_than_there_are(
    shapes: Sequence[SubShape], count: int, expected: Sequence[SubShape]
) -> None:
    assert set(drawn(shapes, count, seed=0, step=7)) == set(expected)


@pytest.mark.parametrize("targets", ["teacher", "largest"])
def test_the_loss_is_the_mean_over_the_sub_nets_of_the_step(
    targets: str, teachers: Teachers, context: Contexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = teachers("bert")
    ctx = context(teacher)
    module, (inputs, rows) = student_of(teacher), rows_of(ctx)
    subnets, theirs = Subnets(module), teacher_logits(ctx)[rows]
    objective = sandwich_objective(module, SHAPES, sandwich(targets=targets), ctx)
    assert objective.before_step is not None
    for step in (0, 3):
        objective.before_step(step, 9)
        loss = objective.loss(module, inputs, rows)
        loss.backward()
        found = gradients(module)
        largest = module(**inputs).logits
        aims = theirs if targets == "teacher" else largest.detach()
        losses = [cross_entropy(largest, theirs)]
        for shape in drawn(SHAPES, 2, ctx.seed, step):
            losses.append(cross_entropy(subnets.run(shape, inputs).logits, aims))
        torch.stack(losses).mean().backward()
        expected = gradients(module)
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6)


def test_what_a_smaller_sub_net_lacks_learns_from_the_larger_ones_alone(
    teachers: Teachers, context: Contexts
) -> None:
    """With the largest and the smallest: twice their mean is what the largest learns alone."""
    teacher = teachers("bert")
    ctx = context(teacher)
    module, (inputs, rows) = student_of(teacher), rows_of(ctx)
    both = sandwich_objective(module, (LARGEST, SMALLEST), sandwich(targets="largest"), ctx)
    both.loss(module, inputs, rows).backward()
    found = gradients(module)
    cross_entropy(module(**inputs).logits, teacher_logits(ctx)[rows]).backward()
    alone = gradients(module)
    up, down = "intermediate.dense.weight", "output.dense.weight"
    for number in range(4):
        layer = f"bert.encoder.layer.{number}."
        kept = 8 if number in (0, 3) else 0  # the smallest has two layers with 8 neurons
        for name, axis in ((up, 0), (down, 1)):
            ours, theirs = 2 * found[layer + name], alone[layer + name]
            rest = 32 - kept
            parts = [grad.narrow(axis, kept, rest) for grad in (ours, theirs)]
            torch.testing.assert_close(*parts, rtol=1e-4, atol=1e-7)
            if kept:
                shared = [grad.narrow(axis, 0, kept) for grad in (ours, theirs)]
                assert (shared[0] - shared[1]).abs().max() > 1e-5


def test_the_teacher_sees_each_batch_once(
    teachers: Teachers, context: Contexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Augmented images are others whenever they are read: all must learn from one view."""
    teacher, seen = teachers("bert"), []
    ctx = context(teacher)
    module = student_of(teacher)

    def outputs(inputs: Any, rows: Tensor) -> Tensor:
        seen.append(rows.tolist())
        return teacher_logits(ctx)[rows]

    monkeypatch.setattr("compress.student.components.sandwich.teacher_outputs", lambda *_: outputs)
    objective = sandwich_objective(module, SHAPES, sandwich(), ctx)
    for count in (2, 3):
        objective.loss(module, *rows_of(ctx, count))
    assert seen == [[0, 1], [0, 1, 2]]


def test_with_labels_alone_every_sub_net_learns_these(
    teachers: Teachers, context: Contexts
) -> None:
    teacher = teachers("bert")
    ctx = context(teacher)
    module, (inputs, rows) = student_of(teacher), rows_of(ctx)
    settings = sandwich(alpha=0.0, sampled=0, targets="largest")
    loss = sandwich_objective(module, SHAPES, settings, ctx).loss(module, inputs, rows)
    labels = ctx.data.train.labels[rows]
    logits = (module(**inputs).logits, Subnets(module).run(SMALLEST, inputs).logits)
    expected = sum(nn.functional.cross_entropy(each, labels) for each in logits) / 2
    torch.testing.assert_close(loss, torch.as_tensor(expected))


def test_sub_nets_compute_in_the_precision_of_the_training(
    teachers: Teachers, context: Contexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = teachers("bert")
    ctx, losses = context(teacher), []
    module, (inputs, rows) = student_of(teacher), rows_of(ctx)
    for dtype in (torch.float32, torch.bfloat16):
        monkeypatch.setattr(Cpu, "training_dtype", lambda _, dtype=dtype: dtype)
        objective = sandwich_objective(module, SHAPES, sandwich(targets="largest"), ctx)
        losses.append(objective.loss(module, inputs, rows).item())
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)
