"""Distillation of a teacher's logits.

Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", arXiv:1503.02531, section 2.
The losses on logits and labels depend on the task: see `compress/problem`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Shaped
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from compress.config.fields import Fraction, Positive, UnitInterval
from compress.measure.score import predict_all
from compress.measure.sparsity import live_patterns, live_zeros
from compress.records.curve import CurvePoint
from compress.training.train import Objective, Training, train_
from compress.training.trainer import Loss
from compress.transformer.torch_model import TorchModel

if TYPE_CHECKING:
    from compress.interfaces import (
        CompressedModel,
        Problem,
        StageContext,
        Step,
        TrainingData,
    )

LOGITS_BATCH = 64

# logits [B, ...], inputs of the batch, row numbers [B] → mean loss
RowLoss = Callable[[Tensor, Mapping[str, Tensor], Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Distillation(Training):
    """Training on the teacher's logits, on the labels, or on both.

    Attributes:
        temperature: T, softens both distributions. Not used in regression.
        alpha: weight of the distillation loss: 0 is plain fine-tuning on the labels.
        label_smoothing: fraction of each label spread over all classes; must be 0 in regression.
            Does not apply to the teacher's distribution.
    """

    temperature: Positive
    alpha: UnitInterval
    label_smoothing: Fraction


def distill_(
    model: CompressedModel, settings: Distillation, ctx: StageContext
) -> tuple[CurvePoint, ...]:
    """Trains a model in place on the task's train split, with its zeros held; see `train_`."""
    if settings.epochs == 0:
        return ()
    return train_(
        model.module,
        model.tokenizer,
        ctx.data,
        settings,
        Objective(on_logits(distillation_row_loss(settings, ctx))),
        device=ctx.device,
        seed=ctx.seed,
        masks=held_masks(model.module, model.history),
        monitor=ctx.monitor,
    )


def held_masks(module: nn.Module, history: Sequence[Step]) -> dict[nn.Parameter, Bool[Tensor, ...]]:
    """For every weight that a pruner left zeros in: True where it is not zero."""
    zeros = {name for name, count in live_zeros(history).items() if count}
    weights = {*zeros, *live_patterns(history)}
    return {w: w.detach() != 0 for name, w in module.named_parameters() if name in weights}


def distillation_row_loss(settings: Distillation, ctx: StageContext) -> RowLoss:
    """The distillation loss as a function of a batch's logits, inputs and row numbers."""
    if settings.alpha == 0:
        return label_loss(ctx.data, settings.label_smoothing)
    problem, labels, teacher = ctx.data.problem, ctx.data.train.labels, teacher_outputs(ctx)

    def loss(logits: Tensor, inputs: Mapping[str, Tensor], rows: Tensor) -> Tensor:
        targets = problem.targets(labels[rows.cpu()].to(logits.device), inputs)
        theirs = teacher(inputs, rows).to(logits.device)
        return distillation_loss(problem, logits, theirs, targets, settings)

    return loss


def distillation_loss(
    problem: Problem,
    student: Float[Tensor, "B ..."],
    teacher: Float[Tensor, "B ..."],
    targets: Shaped[Tensor, "B ..."],
    settings: Distillation,
) -> Float[Tensor, ""]:
    """α · distillation loss + (1 - α) · label loss."""
    distilled = problem.distillation_loss(student, teacher, targets, settings.temperature)
    on_labels = problem.loss(student, targets, settings.label_smoothing)
    return settings.alpha * distilled + (1 - settings.alpha) * on_labels


def label_loss(data: TrainingData, smoothing: float = 0.0) -> RowLoss:
    """The label loss on the train split."""
    problem, labels = data.problem, data.train.labels

    def loss(logits: Tensor, inputs: Mapping[str, Tensor], rows: Tensor) -> Tensor:
        targets = problem.targets(labels[rows.cpu()].to(logits.device), inputs)
        return problem.loss(logits, targets, smoothing)

    return loss


def on_logits(row_loss: RowLoss) -> Loss:
    """A loss that depends on the model's logits only."""

    def loss(model: nn.Module, inputs: dict[str, Tensor], rows: Tensor) -> Tensor:
        return row_loss(model(**inputs).logits.float(), inputs, rows)

    return loss


def teacher_outputs(ctx: StageContext) -> Callable[[Mapping[str, Tensor], Tensor], Tensor]:
    """The teacher's logits of a batch, given its inputs and row numbers.

    Cached if possible. Computed for each batch, in eval mode, if they take too much memory or if
    training augments rows. The teacher then gets the student's view of a row (Beyer et al.,
    "Knowledge distillation: A good teacher is patient and consistent", arXiv:2106.05237, section
    3), with its own tokenizer.
    """
    split = ctx.data.train
    view = split.training_view(ctx.seed)
    varies = view is not split
    if ctx.data.problem.keeps_logits and not varies:
        kept = teacher_logits(ctx)
        return lambda inputs, rows: kept[rows.cpu()]
    teacher = copy.deepcopy(ctx.teacher.module).to(ctx.device.torch_device).eval()
    encoded = view.encode(ctx.teacher.tokenizer).remove_columns("length") if varies else None

    @torch.no_grad()
    def computed(inputs: Mapping[str, Tensor], rows: Tensor) -> Tensor:
        if encoded is not None:
            seen = view.collate(ctx.teacher.tokenizer, [encoded[row] for row in rows.tolist()])
            inputs = {name: value.to(teacher.device) for name, value in seen.items()}
        logits: Tensor = teacher(**inputs).logits
        return logits.float()

    return computed


def teacher_logits(ctx: StageContext) -> Float[Tensor, "rows ..."]:
    """The teacher's logits of the train split, computed once for all epochs and runs."""
    split = ctx.data.train
    inputs = {"teacher": ctx.teacher.digest, "rows": split.digest}

    def make() -> dict[str, Tensor]:
        # A copy, because TorchModel moves the modules it is given to the device.
        module = copy.deepcopy(ctx.teacher.module)
        model = TorchModel(module, ctx.teacher.tokenizer, ctx.device.torch_device)
        return {"logits": predict_all(model, split, LOGITS_BATCH)}

    return ctx.store.tensors("teacher_logits", inputs, make)["logits"]
