"""The step that all teachers share: training on the task's labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.curve import CurvePoint, curve_notes
from compress.distillation import label_loss, on_logits
from compress.interfaces import CompressedModel, Device, Step, Teacher, TrainingData
from compress.train import Objective, Training, train_

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.interfaces import Processor


def finetuned(
    teacher: Teacher,
    module: PreTrainedModel,
    tokenizer: Processor,
    training: Training,
    data: TrainingData,
    device: Device,
    seed: int,
) -> CompressedModel:
    """Trains the module in place on the train split's labels; the first step of its history."""
    curve: tuple[CurvePoint, ...] = ()
    if training.epochs > 0:
        data = data.cut(CompressedModel(module, tokenizer, ()))
        objective = Objective(on_logits(label_loss(data)))
        curve = train_(module, tokenizer, data, training, objective, device=device, seed=seed)
    step = Step("teacher", teacher.describe(), notes=curve_notes(curve))
    return CompressedModel(module, tokenizer, (step,))
