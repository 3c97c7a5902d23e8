"""The learning rates of a training, and the average of its weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from compress.device.cpu import Cpu
from compress.interfaces import CompressedModel, TrainingData
from compress.measure.score import predict_all
from compress.records.curve import CurvePoint
from compress.training.train import Objective, Training, train_
from compress.transformer.torch_model import TorchModel
from tests.training.test_train import TRAINING, Looking, on_labels, train


def rates_of(training: Training, *context: Any) -> list[float]:
    """The learning rate of each step of the optimizer."""
    rates: list[float] = []
    step = torch.optim.AdamW.step

    def noted(optimizer: torch.optim.AdamW, *arguments: Any) -> Any:
        rates.append(optimizer.param_groups[0]["lr"])
        return step(optimizer, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", noted)
        train(*context, training=training)
    return rates


@pytest.mark.parametrize(
    ("schedule", "falls"),
    [
        ("linear", lambda part: 1 - part),
        ("cosine", lambda part: (1 + math.cos(math.pi * part)) / 2),
    ],
)
def test_the_learning_rate_by_hand(
    schedule: Literal["linear", "cosine"],
    falls: Callable[[float], float],
    teacher: CompressedModel,
    data: TrainingData,
    device: Cpu,
) -> None:
    """18 steps: a third of them rises from 0, the others would end at 0 in step 18."""
    training = replace(TRAINING, warmup_fraction=1 / 3, schedule=schedule)
    rising = [step / 6 for step in range(6)]
    factors = [*rising, *(falls(step / 12) for step in range(12))]
    found = rates_of(training, teacher, data, device)
    assert found == pytest.approx([0.01 * factor for factor in factors])


class Kept:
    """The weights of a layer after each step, and their average as the settings define it."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module, self.decay = module, decay
        self.average = self.now()
        self.averages: list[Tensor] = []

    def now(self) -> Tensor:
        return self.module.classifier.weight.detach().clone()

    def __call__(self, step: int, steps: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        self.average = decay * self.average + (1 - decay) * self.now()
        self.averages.append(self.average)


def averaged(
    teacher: CompressedModel, data: TrainingData, device: Cpu, settings: Training, **rest: Any
) -> tuple[nn.Module, Kept, tuple[CurvePoint, ...]]:
    module = copy.deepcopy(teacher.module)
    kept = Kept(module, settings.average or 0)
    objective = Objective(on_labels(data).loss, after_step=kept)
    curve = train_(
        module, teacher.tokenizer, data, settings, objective, device=device, seed=0, **rest
    )
    return module, kept, curve


def test_the_average_is_kept_and_looked_at(
    teacher: CompressedModel, data: TrainingData, device: Cpu
) -> None:
    """It changes nothing in the training: the losses are those without it."""
    settings = replace(TRAINING, average=0.5)
    looking = Looking()
    module, kept, curve = averaged(teacher, data, device, settings, monitor=looking)
    assert torch.allclose(module.classifier.weight, kept.average, atol=1e-6)
    plain, others = train(teacher, data, device)
    assert curve == others
    assert not torch.allclose(module.classifier.weight, plain.classifier.weight, atol=1e-4)
    # The last look was at what is kept.
    logits = predict_all(TorchModel(module, teacher.tokenizer, "cpu"), data.validation, 8)
    accuracy = (logits.argmax(dim=1) == data.validation.labels).float().mean()
    assert looking.seen[-1] == pytest.approx(float(accuracy))


def test_early_stopping_validates_and_keeps_the_average(
    teacher: CompressedModel, data: TrainingData, device: Cpu
) -> None:
    settings = replace(TRAINING, average=0.9, patience=1, learning_rate=0.3)
    module, kept, curve = averaged(teacher, data, device, settings)
    validated = [point.validation_loss for point in curve if point.validation_loss is not None]
    best = validated.index(min(validated))
    assert best < len(validated) - 1 or len(validated) == settings.epochs
    expected = kept.averages[3 * (best + 1) - 1]  # 3 steps an epoch
    assert torch.allclose(module.classifier.weight, expected, atol=1e-6)
    logits = predict_all(TorchModel(module, teacher.tokenizer, "cpu"), data.validation, 8)
    loss = nn.functional.cross_entropy(logits, data.validation.labels)
    # During training the model may compute in bfloat16.
    assert float(loss) == pytest.approx(validated[best], rel=0.02)


def test_masked_weights_stay_zero_in_the_average(
    teacher: CompressedModel, data: TrainingData, device: Cpu
) -> None:
    module = copy.deepcopy(teacher.module)
    weight = module.classifier.weight
    weight.data[:, ::2] = 0
    train_(
        module,
        teacher.tokenizer,
        data,
        replace(TRAINING, average=0.9),
        on_labels(data),
        device=device,
        seed=0,
        masks={weight: weight.detach() != 0},
    )
    assert not weight[:, ::2].any()
    assert weight[:, 1::2].all()
