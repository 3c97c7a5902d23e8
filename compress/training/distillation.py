"""Distillation of a teacher's logits.

Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", arXiv:1503.02531, section 2.
The losses on logits and labels depend on the task: see `compress/problem`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import torch
from jaxtyping import Bool, Float, Shaped
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional

from compress.config.errors import ConfigError
from compress.config.fields import Fraction, NotNegative, Positive, UnitInterval
from compress.core.problem import model_inputs
from compress.measure.score import predict_all
from compress.measure.sparsity import live_patterns, live_zeros
from compress.records.curve import CurvePoint
from compress.training.teachers import (
    LogitSource,
    labeling_precision,
    logit_sources,
    mean,
    teachers_digest,
)
from compress.training.train import Objective, Training, train_
from compress.training.trainer import Loss

if TYPE_CHECKING:
    from compress.interfaces import (
        CompressedModel,
        Problem,
        Split,
        StageContext,
        Step,
        TrainingData,
    )

LOGITS_BATCH = 64
LOGITS_VERSION = 2  # raised whenever a teacher's logits of the same rows are others than before

# logits [B, ...], inputs of the batch, row numbers [B] → mean loss
RowLoss = Callable[[Tensor, Mapping[str, Tensor], Tensor], Tensor]
# inputs of the batch, row numbers [B] → the logits to learn from [B, ...]
Targets = Callable[[Mapping[str, Tensor], Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Distillation(Training):
    """Training on the teacher's logits, on the labels, or on both.

    Attributes:
        temperature: T, softens both distributions. Not used in regression.
        alpha: weight of the distillation loss: 0 is plain fine-tuning on the labels.
        logit_mse: weight of the mean squared difference of the logits, without temperature, in the
            distillation loss (Ba & Caruana, arXiv:1312.6184, section 2.2); classification only.
        label_smoothing: fraction of each label spread over all classes; must be 0 in regression.
            Does not apply to the teacher's distribution.
        teachers: model folders whose logits are averaged with those of the run's own teacher, such
            as those of earlier runs, or `baseline-…` of sweeps. Each reads the rows with its own
            tokenizer, and each distinct model counts once; null for none.
    """

    temperature: Positive
    alpha: UnitInterval
    logit_mse: NotNegative
    label_smoothing: Fraction
    teachers: Annotated[tuple[str, ...], Field(min_length=1)] | None

    def __post_init__(self) -> None:
        """Checks that teachers are learned from."""
        super().__post_init__()
        if self.teachers and self.alpha == 0:
            raise ConfigError("Distillation.teachers needs alpha > 0, got alpha=0: labels alone")

    def content_digest(self) -> str:
        """Digest of the teachers' folders."""
        return teachers_digest(self.teachers or ())


def distill_(
    model: CompressedModel, settings: Distillation, ctx: StageContext
) -> tuple[CurvePoint, ...]:
    """Trains a model in place on the rows to learn from, with its zeros held; see `train_`."""
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


def distillation_row_loss(
    settings: Distillation, ctx: StageContext, targets: Targets | None = None
) -> RowLoss:
    """The distillation loss as a function of a batch's logits, inputs and row numbers.

    Null `targets`: the teacher's.
    """
    if settings.alpha == 0:
        return label_loss(ctx.data, settings.label_smoothing)
    problem, labels = ctx.data.problem, ctx.data.train.labels
    teacher = targets or teacher_outputs(ctx, settings.teachers or ())

    def loss(logits: Tensor, inputs: Mapping[str, Tensor], rows: Tensor) -> Tensor:
        theirs, numbers = teacher(inputs, rows).to(logits.device), rows.cpu()
        ours = problem.outputs(logits, inputs)
        labeled = numbers < len(labels)
        targets = problem.targets(labels[numbers[labeled]].to(logits.device), inputs)
        return distillation_loss(problem, ours, theirs, targets, settings, labeled)

    return loss


def distillation_loss(
    problem: Problem,
    student: Float[Tensor, "B ..."],
    teacher: Float[Tensor, "B ..."],
    targets: Shaped[Tensor, "labeled ..."],
    settings: Distillation,
    labeled: Bool[Tensor, " B"],
) -> Float[Tensor, ""]:
    """α · (distillation loss + logit_mse · squared difference) + (1 - α) · share · label loss.

    The share is that of the batch's rows with labels, over which the label loss is a mean: so each
    row has the same weight, and rows without labels have no label loss.
    """
    distilled = problem.distillation_loss(student, teacher, targets, settings.temperature)
    if settings.logit_mse:
        distilled = distilled + settings.logit_mse * functional.mse_loss(student, teacher)
    if not labeled.any():
        return settings.alpha * distilled
    known = student if labeled.all() else student[labeled]
    on_labels = problem.loss(known, targets, settings.label_smoothing)
    share = len(known) / len(student)
    return settings.alpha * distilled + (1 - settings.alpha) * share * on_labels


def label_loss(data: TrainingData, smoothing: float = 0.0) -> RowLoss:
    """The label loss on the train split."""
    problem, labels = data.problem, data.train.labels

    def loss(logits: Tensor, inputs: Mapping[str, Tensor], rows: Tensor) -> Tensor:
        targets = problem.targets(labels[rows.cpu()].to(logits.device), inputs)
        return problem.loss(problem.outputs(logits, inputs), targets, smoothing)

    return loss


def on_logits(row_loss: RowLoss) -> Loss:
    """A loss that depends on the model's logits only."""

    def loss(model: nn.Module, inputs: dict[str, Tensor], rows: Tensor) -> Tensor:
        return row_loss(model(**model_inputs(inputs)).logits.float(), inputs, rows)

    return loss


def teacher_outputs(ctx: StageContext, folders: Sequence[str] = ()) -> Targets:
    """The teachers' mean logits of a batch, given its inputs and row numbers.

    Cached if possible. Computed for each batch if they take too much memory or if training augments
    rows. Each teacher then gets the student's view of a row (Beyer et al., "Knowledge distillation:
    A good teacher is patient and consistent", arXiv:2106.05237, section 3), with its own tokenizer.
    """
    split = ctx.data.learned
    if ctx.data.problem.keeps_logits and split.training_view(ctx.seed) is split:
        kept = teacher_logits(ctx, folders)
        return lambda inputs, rows: kept[rows.cpu()]
    each = [_in_each_batch(teacher, ctx) for teacher in logit_sources(folders, ctx)]
    return lambda inputs, rows: mean([logits(inputs, rows) for logits in each])


def teacher_logits(ctx: StageContext, folders: Sequence[str] = ()) -> Float[Tensor, "rows ..."]:
    """The teachers' mean logits of the rows to learn from; of each, computed once for all runs.

    Train rows and those without labels are stored apart, so that other runs share them.
    """

    def of(teacher: LogitSource, split: Split) -> Tensor:
        def make() -> dict[str, Tensor]:
            model = teacher.load()
            with labeling_precision(model, ctx.device):
                return {"logits": predict_all(model, split, LOGITS_BATCH, ctx.data.problem.outputs)}

        inputs = {"teacher": teacher.digest, "rows": split.digest, "version": LOGITS_VERSION}
        return teacher.of_task(ctx.store.tensors("teacher_logits", inputs, make)["logits"])

    sources = logit_sources(folders, ctx)
    return torch.cat([mean([of(each, part) for each in sources]) for part in ctx.data.parts])


def _in_each_batch(teacher: LogitSource, ctx: StageContext) -> Targets:
    """One teacher's logits of a batch; of its own view of the rows, if training augments them."""
    split, model = ctx.data.learned, teacher.load()
    view, precision = split.training_view(ctx.seed), labeling_precision(model, ctx.device)
    encoded = view.encode(model.tokenizer).remove_columns("length") if view is not split else None

    def computed(inputs: Mapping[str, Tensor], rows: Tensor) -> Tensor:
        if encoded is not None:
            inputs = view.batch(model.tokenizer, [encoded[row] for row in rows.tolist()])
        with precision:
            logits = teacher.of_task(model.predict(model_inputs(inputs)).float())
            return ctx.data.problem.outputs(logits, inputs)

    return computed
