"""Matching first, logits after."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compress.core.monitor import Monitor
from compress.interfaces import CompressedModel
from compress.problem import classification
from compress.records.curve import CurvePoint, curves
from compress.student.components import base
from compress.training import features
from tests.pruner.made import Contexts
from tests.training.test_matching import student


class Seen(Monitor):
    """The names of the trainings' curves, and the steps after which a score was offered."""

    def __init__(self) -> None:
        self.points: list[list[CurvePoint]] = []
        self.looks: list[tuple[int, int]] = []

    def training(self) -> Callable[[CurvePoint], None]:
        self.points.append([])
        return self.points[-1].append

    def look(self, done: int, steps: int, scores: Callable[[], Mapping[str, float]]) -> None:
        self.looks.append((done, steps))


@pytest.mark.parametrize("rate", [None, 0.003])
def test_two_stages_match_first_and_learn_the_logits_after(
    rate: float | None, teacher: CompressedModel, context: Contexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which losses a step has, how long each stage is, and at which rate it learns."""
    steps: list[set[str]] = []
    rates: list[float] = []
    trained = base.train_

    def noted(module: Any, tokenizer: Any, data: Any, training: Any, objective: Any, **rest: Any):
        def loss(model: nn.Module, inputs: dict[str, Tensor], rows: Tensor) -> Tensor:
            steps.append(set())
            return objective.loss(model, inputs, rows)

        rates.append(training.learning_rate)
        return trained(module, tokenizer, data, training, replace(objective, loss=loss), **rest)

    def counted(name: str, function: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            steps[-1].add(name)
            return function(*arguments, **named)

        return call

    monkeypatch.setattr(base, "train_", noted)
    monkeypatch.setattr(features, "hidden_loss", counted("hidden", features.hidden_loss))
    softened = classification.softened_divergence
    monkeypatch.setattr(classification, "softened_divergence", counted("logits", softened))
    settings = student(
        "matching.method=hidden", "matching.epochs=2", "distillation.learning_rate=1e-3",
        f"matching.learning_rate={'null' if rate is None else rate}", "distillation.patience=1",
    )  # fmt: skip
    seen = Seen()
    ctx = replace(context(teacher), monitor=seen)
    made = settings.distill(ctx)
    assert steps == [{"hidden"}] * 6 + [{"logits"}] * 3
    assert rates == [rate or 1e-3, 1e-3]
    assert seen.looks == [(1, 3), (2, 3), (3, 3)], "the scores of a headless student say nothing"
    history = [vars(step) for step in made.history]
    found = dict(curves(history))
    names = ["student", "student_2"]
    assert [[point.step for point in found[name]] for name in names] == [[*range(1, 7)], [1, 2, 3]]
    assert [len({p.step for p in points}) for points in seen.points] == [6, 3]
    assert [any(p.validation_loss for p in found[name]) for name in names] == [False, True]
    assert made.history[-1].notes["layer_map"] == [1, 3]


def test_the_first_stage_is_not_undone_by_the_second(
    teacher: CompressedModel, context: Contexts
) -> None:
    """The same logits and steps after another beginning end in another student."""
    ends = [
        student("matching.method=hidden", f"matching.epochs={epochs}", "distillation.dropout=0.0")
        .distill(context(teacher))
        .module.state_dict()
        for epochs in (1, 1, 2)
    ]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert any(not torch.equal(ends[0][name], ends[2][name]) for name in ends[0])
