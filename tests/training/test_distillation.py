from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
import torch
from torch.nn import functional

from compress.interfaces import CompressedModel, TrainingData
from compress.measure.score import predict_all
from compress.problem.classification import Classification
from compress.task.components.text import TextSplit
from compress.training.distillation import (
    Distillation,
    distill_,
    distillation_loss,
    distillation_row_loss,
    teacher_logits,
)
from compress.transformer.torch_model import TorchModel
from tests.configs import settings_of
from tests.pruner.made import Contexts
from tests.tiny import PLAIN

LN2 = math.log(2)
TWO = Classification(("a", "b"))
ALL = torch.tensor([True])  # rows have labels


def how(
    temperature: float, alpha: float, label_smoothing: float = 0.0, logit_mse: float = 0.0
) -> Distillation:
    return Distillation(
        temperature=temperature,
        alpha=alpha,
        epochs=1,
        learning_rate=1e-3,
        batch_size=8,
        label_smoothing=label_smoothing,
        teachers=None,
        logit_mse=logit_mse,
        **PLAIN,
    )


def loss(temperature: float, alpha: float) -> float:
    """Student says 1/2, 1/2; teacher 4:1 at T = 1, that is 2:1 at T = 2; the label is class 0."""
    student, teacher = torch.zeros(1, 2), torch.tensor([[2 * LN2, 0.0]])
    return float(
        distillation_loss(TWO, student, teacher, torch.tensor([0]), how(temperature, alpha), ALL)
    )


def test_by_hand() -> None:
    assert loss(1.0, 0.0) == pytest.approx(LN2)
    at_one = 0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5)
    assert loss(1.0, 1.0) == pytest.approx(at_one)
    at_two = 2 / 3 * math.log(2 / 3 / 0.5) + 1 / 3 * math.log(1 / 3 / 0.5)
    assert loss(2.0, 1.0) == pytest.approx(4 * at_two)
    assert loss(2.0, 0.25) == pytest.approx(0.25 * 4 * at_two + 0.75 * LN2)


def test_the_squared_difference_of_logits_by_hand() -> None:
    """Logits of 1 and 0 under 3 and 0: (2² + 0²) / 2 = 2, on top of the divergence."""
    student, teacher = torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 0.0]])
    plain, added = (
        distillation_loss(TWO, student, teacher, torch.tensor([0]), how(2.0, 0.5, 0.0, weight), ALL)
        for weight in (0.0, 0.1)
    )
    assert float(added - plain) == pytest.approx(0.5 * 0.1 * 2)


def test_label_smoothing_by_hand() -> None:
    """Odds of 3 to 1 against a label whose 0.2 are spread over both classes: 0.9 and 0.1."""
    student, labels = torch.tensor([[math.log(3), 0.0]]), torch.tensor([0])
    made = distillation_loss(TWO, student, student, labels, how(2.0, 0.5, 0.2), ALL)
    hard = -0.9 * math.log(0.75) - 0.1 * math.log(0.25)
    assert float(made) == pytest.approx(0.5 * hard)


@pytest.mark.parametrize("alpha", [0, 0.5])
def test_label_smoothing_reaches_the_loss_of_a_row(
    alpha: float,
    teacher: CompressedModel,
    context: Contexts,
) -> None:
    logits, rows = torch.tensor([[4.0, -4.0]]), torch.tensor([0])
    off, on = (
        distillation_row_loss(replace(how(2.0, alpha), label_smoothing=share), context(teacher))
        for share in (0.0, 0.2)
    )
    difference = on(logits, {}, rows) - off(logits, {}, rows)
    # A tenth of the label, class 0, goes to the other class, whose logit is 8 below.
    assert difference.item() == pytest.approx((1 - alpha) * 0.1 * 8, rel=1e-4)


@pytest.mark.parametrize(
    ("labeled", "on_labels"), [([True, False], 0.5), ([False, False], 0.0), ([True, True], 1.0)]
)
def test_rows_without_labels_have_the_distillation_loss_alone(
    labeled: list[bool], on_labels: float
) -> None:
    """As `loss` above in both rows; a label's loss, ln 2, counts by the share of rows with one."""
    student, teacher = torch.zeros(2, 2), torch.tensor([[2 * LN2, 0.0]] * 2)
    mask = torch.tensor(labeled)
    targets = torch.zeros(int(mask.sum()), dtype=torch.long)
    made = distillation_loss(TWO, student, teacher, targets, how(1.0, 0.25), mask)
    distilled = 0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5)
    assert float(made) == pytest.approx(0.25 * distilled + 0.75 * on_labels * LN2)


def test_the_loss_of_a_row_knows_which_rows_have_labels(
    teacher: CompressedModel, context: Contexts, data: TrainingData
) -> None:
    """Rows 22 and 23 are the last of train; 24 is the first without a label, and row 3 again."""
    bare = TextSplit("bare", pd.DataFrame({"text": data.train.columns[0][3:5]}), 32)
    ctx = replace(context(teacher), data=replace(data, unlabeled=bare))
    row_loss = distillation_row_loss(how(1.0, 0.5), ctx)
    logits = torch.tensor([[0.3, -0.2], [1.0, 0.5], [-0.4, 0.9]])
    made = row_loss(logits, {}, torch.tensor([22, 23, 24]))
    theirs = teacher_logits(context(teacher))[[22, 23, 3]]
    distilled = TWO.distillation_loss(logits, theirs, torch.tensor([]), 1.0)
    on_labels = functional.cross_entropy(logits[:2], data.train.labels[22:], reduction="sum") / 3
    assert float(made) == pytest.approx(float(0.5 * distilled + 0.5 * on_labels), rel=1e-5)


def test_logits_of_train_are_shared_with_runs_without_transfer_text(
    teacher: CompressedModel, context: Contexts, data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = context(teacher)
    first = teacher_logits(ctx)
    predicted = []

    def spy(model: TorchModel, split: TextSplit, size: int, keep: Any) -> torch.Tensor:
        predicted.append(split.name)
        return predict_all(model, split, size, keep)

    monkeypatch.setattr("compress.training.distillation.predict_all", spy)
    bare = TextSplit("bare", pd.DataFrame({"text": ["a glad end", "a sad film"]}), 32)
    both = teacher_logits(replace(ctx, data=replace(data, unlabeled=bare)))
    assert predicted == ["bare"]
    assert torch.equal(both[:24], first)
    assert both.shape == (26, 2)


def test_bad_label_smoothing_is_refused() -> None:
    with pytest.raises(Exception, match=r"label_smoothing must be in \[0, 1\), got 1"):
        settings_of("student", "layers", "student.distillation.label_smoothing=1")


def test_a_perfect_student_has_no_distillation_loss() -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(4, dtype=torch.long)
    made = distillation_loss(TWO, logits, logits, labels, how(3.0, 1.0), ALL.expand(4))
    assert float(made) == pytest.approx(0, abs=1e-6)


@pytest.mark.usefixtures("float32_training")
def test_teacher_logits_are_in_row_order_and_computed_once(
    teacher: CompressedModel,
    context: Contexts,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ctx = context(teacher)
    first = teacher_logits(ctx)
    row = ctx.data.train.encode(teacher.tokenizer).remove_columns("length")[5]
    with torch.no_grad():
        alone = teacher.module(**{k: torch.tensor([v]) for k, v in row.items()}).logits
    assert torch.allclose(first[5], alone[0], atol=1e-5)

    def forbidden(*_: object) -> None:
        raise AssertionError("computed a second time")

    monkeypatch.setattr("compress.training.distillation.predict_all", forbidden)
    assert torch.equal(teacher_logits(ctx), first)


def test_labels_alone_need_no_teacher(
    teacher: CompressedModel,
    context: Contexts,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ctx = context(teacher)
    monkeypatch.setattr("compress.training.distillation.predict_all", None)
    student: Any = settings_of("student", "layers", "student.distillation.alpha=0")
    student.distill(ctx)


def test_distillation_brings_the_student_to_the_teacher(
    teacher: CompressedModel, context: Contexts
) -> None:
    """Against a teacher that always says class 1, whatever the labels, the student says it too."""
    ctx = context(teacher)
    sure = torch.tensor([[-3.0, 3.0]]).repeat(len(ctx.data.train), 1)
    student: Any = settings_of(
        "student", "layers", "student.distillation.alpha=1", "student.distillation.epochs=8",
        "student.distillation.learning_rate=0.01", "student.distillation.batch_size=8",
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("compress.training.distillation.teacher_logits", lambda *_: sure)
        made = student.distill(ctx)
    logits = predict_all(TorchModel(made.module, made.tokenizer, "cpu"), ctx.data.train, 8)
    assert (logits.argmax(dim=1) == 1).all()


def test_zero_epochs_train_nothing(teacher: CompressedModel, context: Contexts) -> None:
    student: Any = settings_of("student", "layers", "student.distillation.epochs=0")
    ctx = replace(context(teacher), data=None)  # type: ignore[arg-type]
    distill_(teacher, student.distillation, ctx)
