from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compress.core.monitor import Monitor
from compress.device.cpu import Cpu
from compress.interfaces import CompressedModel, TrainingData
from compress.measure.score import predict_all
from compress.records.curve import CurvePoint, CurveRecorder, curve_notes
from compress.training.distillation import label_loss, on_logits
from compress.training.train import Objective, Training, train_
from compress.transformer.torch_model import TorchModel
from tests.tiny import PLAIN

TRAINING = Training(epochs=6, learning_rate=0.01, batch_size=8, **PLAIN)


def on_labels(data: TrainingData) -> Objective:
    return Objective(on_logits(label_loss(data)))


def train(
    teacher: CompressedModel,
    data: TrainingData,
    device: Cpu,
    objective: Objective | None = None,
    training: Training = TRAINING,
    **rest: Any,
) -> tuple[nn.Module, tuple[CurvePoint, ...]]:
    """A trained copy of a model, and the curve."""
    module, rest = copy.deepcopy(teacher.module), {"seed": 0, **rest}
    objective = objective or on_labels(data)
    curve = train_(module, teacher.tokenizer, data, training, objective, device=device, **rest)
    assert not module.training
    return module, curve


def trained(
    teacher: CompressedModel, data: TrainingData, device: Cpu, **rest: Any
) -> dict[str, Tensor]:
    return train(teacher, data, device, **rest)[0].state_dict()


def test_training_learns_and_repeats_exactly(
    teacher: CompressedModel, data: TrainingData, device: Cpu
) -> None:
    first, second, other = (trained(teacher, data, device, seed=seed) for seed in (0, 0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    module = copy.deepcopy(teacher.module)
    module.load_state_dict(first)
    logits = predict_all(TorchModel(module, teacher.tokenizer, "cpu"), data.validation, 8)
    assert logits.argmax(dim=1).tolist() == data.validation.labels.tolist()


def test_a_batch_that_does_not_fit_is_learned_in_parts(
    teachers: Callable[[str], CompressedModel],
    data: TrainingData,
    device: Cpu,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As many steps, and about as much lost in each: a llama has no dropout."""
    teacher = teachers("llama")
    objective, batches = on_labels(data), []

    def loss(model: nn.Module, inputs: dict[str, Tensor], rows: Tensor) -> Tensor:
        batches.append(len(rows))
        return objective.loss(model, inputs, rows)

    def curve() -> list[float]:
        points = train(teacher, data, device, Objective(loss))[1]
        return [point.loss for point in points]

    whole = curve()
    monkeypatch.setattr(type(data.train), "fitting_batch", lambda *_: 4)
    assert curve() == pytest.approx(whole, rel=0.1)
    assert batches == [8] * 18 + [4] * 36


def test_a_single_step_learns_in_spite_of_the_warm_up(
    teacher: CompressedModel, data: TrainingData, device: Cpu
) -> None:
    once = replace(TRAINING, epochs=0.1, warmup_fraction=0.1)
    before, after = teacher.module.state_dict(), trained(teacher, data, device, training=once)
    assert any(not torch.equal(before[name], after[name]) for name in after)


class Looking(Monitor):
    """Looks at the accuracy after every step."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def look(self, done: int, steps: int, scores: Callable[[], Mapping[str, float]]) -> None:
        self.seen.append(scores()["accuracy"])


def test_being_looked_at_changes_nothing(
    teacher: CompressedModel, data: TrainingData, device: Cpu
) -> None:
    looking = Looking()
    seen = trained(teacher, data, device, monitor=looking)
    unseen = trained(teacher, data, device)
    assert all(torch.equal(seen[name], unseen[name]) for name in seen)
    assert len(looking.seen) > 10
    assert looking.seen[0] < looking.seen[-1] == 1.0


def test_without_dropout_a_batch_has_one_loss(
    teacher: CompressedModel, data: TrainingData, device: Cpu
) -> None:
    """Of two models that learn next to nothing, each batch is computed twice."""
    row_loss = label_loss(data)
    pairs: list[tuple[float, float]] = []

    def twice(model: nn.Module, inputs: dict[str, Tensor], rows: Tensor) -> Tensor:
        both = [row_loss(model(**inputs).logits.float(), inputs, rows) for _ in range(2)]
        pairs.append((both[0].item(), both[1].item()))
        return both[0]

    for dropout in (0.0, None):
        pairs.clear()
        settings = replace(TRAINING, epochs=1, dropout=dropout)
        train(teacher, data, device, Objective(twice), settings)
        assert all(first == second for first, second in pairs) is (dropout == 0)


def test_bfloat16_training_works(
    teacher: CompressedModel, data: TrainingData, device: Cpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a processor without bfloat16 arithmetic it is slow and still right."""
    monkeypatch.setattr(Cpu, "training_dtype", lambda _: torch.bfloat16)
    state = trained(teacher, data, device)
    assert all(tensor.isfinite().all() for tensor in state.values())
    assert {t.dtype for t in state.values() if t.is_floating_point()} == {torch.float32}


def test_a_second_training_is_in_bfloat16_too(
    teacher: CompressedModel, data: TrainingData, device: Cpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stages train one module twice, such as a pruner in training and in its recovery."""
    monkeypatch.setattr(Cpu, "training_dtype", lambda _: torch.bfloat16)
    module, types = copy.deepcopy(teacher.module), []
    module.classifier.register_forward_hook(lambda _, __, logits: types.append(logits.dtype))
    attributes = set(vars(module))
    batch = {"input_ids": torch.tensor([[5, 6, 7]])}
    for _ in range(2):
        types.clear()
        train_(
            module, teacher.tokenizer, data, replace(TRAINING, epochs=1), on_labels(data),
            device=device, seed=0,
        )  # fmt: skip
        # After the last step the logits are checked, in float32.
        assert types == [torch.bfloat16] * 3 + [torch.float32]
        assert module(**batch).logits.dtype == torch.float32
        assert set(vars(module)) == attributes


def test_steps_are_told_of_and_other_parameters_learn(
    teacher: CompressedModel, data: TrainingData, device: Cpu
) -> None:
    beside = nn.Parameter(torch.zeros(()))
    before: list[tuple[int, int]] = []
    after: list[tuple[int, int]] = []
    row_loss = label_loss(data)

    def loss(model: nn.Module, inputs: dict[str, Tensor], rows: Tensor) -> Any:
        return row_loss(model(**inputs).logits, inputs, rows) + (beside - 1) ** 2

    objective = Objective(
        loss,
        parameters=[{"params": [beside], "lr": 0.1, "weight_decay": 0.0}],
        before_step=lambda step, steps: before.append((step, steps)),
        after_step=lambda step, steps: after.append((step, steps)),
    )
    train(teacher, data, device, objective)
    assert before == after == [(step, 18) for step in range(18)]  # 24 rows in batches of 8, 6 times
    assert float(beside.detach()) > 0.3


def test_patience_keeps_the_best_epoch_and_stops(
    teacher: CompressedModel, data: TrainingData, device: Cpu
) -> None:
    """At a rate that breaks the model in the end, the validation split decides."""
    labels = data.validation.labels
    losses: list[float] = []

    class Spoiler:
        module = copy.deepcopy(teacher.module)

        def __call__(self, step: int, steps: int) -> None:
            if (step + 1) % 3:
                return
            with torch.no_grad():
                if step > 6:  # from the third epoch on, every epoch ends worse than the last
                    self.module.classifier.weight.mul_(-20)
            split = data.validation
            model = TorchModel(copy.deepcopy(self.module).eval(), teacher.tokenizer, "cpu")
            logits = predict_all(model, split, 8)
            losses.append(float(nn.functional.cross_entropy(logits, labels)))

    spoiler = Spoiler()
    objective = Objective(on_labels(data).loss, after_step=spoiler)
    settings = replace(TRAINING, patience=2)
    curve = train_(
        spoiler.module, teacher.tokenizer, data, settings, objective, device=device, seed=0
    )
    validated = [point.validation_loss for point in curve if point.validation_loss is not None]
    assert validated == pytest.approx(losses, rel=1e-3)
    assert [point.epoch for point in curve if point.validation_loss] == [*range(1, len(losses) + 1)]
    logits = predict_all(TorchModel(spoiler.module, teacher.tokenizer, "cpu"), data.validation, 8)
    kept = float(nn.functional.cross_entropy(logits, labels))
    # During training the model may compute in bfloat16. The next best epoch is 2.6e-4 away.
    assert kept == pytest.approx(min(losses), abs=1e-4)
    assert losses.index(min(losses)) < len(losses) - 1, "the last epoch was not the best"
    assert len(losses) == losses.index(min(losses)) + 3, "two epochs without a better one end it"


def test_the_curve_is_the_loss_of_each_step(
    teacher: CompressedModel, data: TrainingData, device: Cpu
) -> None:
    losses: list[float] = []
    row_loss = label_loss(data)

    def loss(model: nn.Module, inputs: dict[str, Tensor], rows: Tensor) -> Any:
        value = row_loss(model(**inputs).logits.float(), inputs, rows)
        losses.append(float(f"{value.item():.6g}"))
        return value

    curve = train(teacher, data, device, Objective(loss))[1]
    assert [point.loss for point in curve] == losses
    assert [point.step for point in curve] == list(range(1, 19))
    assert [point.epoch for point in curve[2::3]] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert {point.validation_loss for point in curve} == {None}
    assert json.loads(json.dumps(curve_notes(curve)))["curve"][0]["step"] == 1


def test_no_training_has_no_curve(
    teacher: CompressedModel, data: TrainingData, device: Cpu
) -> None:
    assert not train(teacher, data, device, training=replace(TRAINING, epochs=0.0))[1]
    assert curve_notes(()) == {}


def test_recording_a_curve_changes_no_weight(
    teacher: CompressedModel, data: TrainingData, device: Cpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = trained(teacher, data, device)
    for deaf in ("add", "end_step", "validate"):
        monkeypatch.setattr(CurveRecorder, deaf, lambda *_: None)
    plain = trained(teacher, data, device)
    assert all(torch.equal(recorded[name], plain[name]) for name in recorded)
