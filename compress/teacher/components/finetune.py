"""Fine-tuning of teachers on the task's labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from compress.core.monitor import Monitor
from compress.interfaces import CompressedModel, Device, Step, Teacher, TrainingData
from compress.records.curve import CurvePoint, curve_notes
from compress.training.distillation import label_loss, on_logits
from compress.training.train import Objective, Training, train_

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
    monitor: Monitor,
    notes: Mapping[str, Any] | None = None,
) -> CompressedModel:
    """Trains the module in place on the train split's labels; the first step of its history.

    The module is in eval mode. Notes on how it was loaded go into the record.
    """
    curve: tuple[CurvePoint, ...] = ()
    if training.epochs > 0:
        data = data.tokenized(CompressedModel(module, tokenizer, ()))
        objective = Objective(on_logits(label_loss(data)))
        curve = train_(
            module, tokenizer, data, training, objective, device=device, seed=seed, monitor=monitor
        )
    step = Step("teacher", teacher.describe(), notes={**(notes or {}), **curve_notes(curve)})
    return CompressedModel(module, tokenizer, (step,))
