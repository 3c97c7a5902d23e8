"""Learning from a teacher's logits.

Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", arXiv:1503.02531, section 2.
The soft loss is scaled by T² so that its gradients keep their size as T changes (same section).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from compress.curve import CurvePoint
from compress.settings import Settings, check_fraction, check_positive
from compress.train import Loss, Objective, Training, train_

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.interfaces import CompressedModel, Processor, Split, StageContext

LOGITS_BATCH = 64

# logits [B, classes], row numbers [B] → mean loss
RowLoss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Distillation(Settings):
    """Training on the teacher's logits, on the labels, or on both.

    Attributes:
        temperature: T, softens both distributions; > 0.
        alpha: weight of the soft loss, in [0, 1]: 0 is plain fine-tuning on the labels.
        epochs: passes over the train split; 0 trains nothing.
        learning_rate: the peak.
        batch_size: rows per step.
        warmup_fraction: share of the steps that the rate rises for.
        patience: epochs without a better validation loss to stop after; null never stops.
        label_smoothing: share of each label spread over all classes, in [0, 1); 0 for none. The
            teacher's distribution is left as it is.
    """

    temperature: float
    alpha: float
    epochs: float
    learning_rate: float
    batch_size: int
    warmup_fraction: float
    patience: int | None
    label_smoothing: float

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ConfigError: one is outside what it may be.
        """
        super().__post_init__()
        check_positive(self, "temperature")
        check_fraction(self, "alpha", closed=True)
        check_fraction(self, "label_smoothing")
        self.training()

    def training(self) -> Training:
        """The part that any training needs."""
        return Training(
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            warmup_fraction=self.warmup_fraction,
            patience=self.patience,
        )


def distill_(
    module: PreTrainedModel,
    tokenizer: Processor,
    settings: Distillation,
    ctx: StageContext,
    masks: Mapping[str, Tensor] | None = None,
) -> tuple[CurvePoint, ...]:
    """Trains a model in place on the task's train split, with `masks` held; see `train_`."""
    if settings.epochs == 0:
        return ()
    row_loss = distillation_row_loss(settings, ctx)
    return train_(
        module,
        tokenizer,
        ctx.data,
        settings.training(),
        Objective(on_logits(row_loss)),
        device=ctx.device,
        seed=ctx.seed,
        masks=masks,
    )


def distillation_row_loss(settings: Distillation, ctx: StageContext) -> RowLoss:
    """The distillation loss as a function of a batch's logits and row numbers."""
    labels = torch.tensor(ctx.data.train.labels)
    soft = teacher_logits(ctx) if settings.alpha > 0 else None
    return _row_loss(labels, soft, settings.temperature, settings.alpha, settings.label_smoothing)


def on_logits(row_loss: RowLoss) -> Loss:
    """A loss that needs nothing of the model but its logits."""

    def loss(model: nn.Module, inputs: dict[str, Tensor], rows: Tensor) -> Tensor:
        return row_loss(model(**inputs).logits.float(), rows)

    return loss


def distillation_loss(
    student: Float[Tensor, "B classes"],
    teacher: Float[Tensor, "B classes"],
    labels: Int[Tensor, " B"],
    temperature: float,
    alpha: float,
    label_smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """α · T² · KL(teacher ‖ student at temperature T) + (1 - α) · cross entropy with the labels."""
    soft = functional.kl_div(
        functional.log_softmax(student / temperature, dim=-1),
        functional.log_softmax(teacher / temperature, dim=-1),
        reduction="batchmean",
        log_target=True,
    )
    hard = functional.cross_entropy(student, labels, label_smoothing=label_smoothing)
    return alpha * temperature**2 * soft + (1 - alpha) * hard


def label_loss(labels: Int[Tensor, " rows"]) -> RowLoss:
    """Cross entropy with the labels, as a loss over row numbers."""
    return _row_loss(labels, None, temperature=1.0, alpha=0.0, label_smoothing=0.0)


def teacher_logits(ctx: StageContext) -> Float[Tensor, "rows classes"]:
    """The teacher's logits of the train split, computed once for all epochs and runs."""
    split = ctx.data.train
    inputs = {"teacher": ctx.teacher.digest, "rows": split.digest}

    def make() -> dict[str, Tensor]:
        return {"logits": logits_of(ctx.teacher, split, ctx.device.torch_device)}

    return ctx.store.tensors("teacher_logits", inputs, make)["logits"]


def logits_of(
    model: CompressedModel, split: Split, torch_device: str
) -> Float[Tensor, "rows classes"]:
    """Logits of every row of a split, in its order."""
    # Imported here: measure holds the one loop that scores a split, and it imports this package.
    from compress.measure.score import predict_all
    from compress.runtime.torch import TorchModel

    # A copy, because TorchModel moves the modules it is given to the device.
    module = copy.deepcopy(model.module)
    return predict_all(TorchModel(module, model.tokenizer, torch_device), split, LOGITS_BATCH)


def _row_loss(
    labels: Int[Tensor, " rows"],
    soft: Float[Tensor, "rows classes"] | None,
    temperature: float,
    alpha: float,
    label_smoothing: float,
) -> RowLoss:
    def loss(logits: Tensor, rows: Tensor) -> Tensor:
        index = rows.cpu()
        hard = labels[index].to(logits.device)
        if soft is None:
            return functional.cross_entropy(logits, hard, label_smoothing=label_smoothing)
        theirs = soft[index].to(logits.device)
        return distillation_loss(logits, theirs, hard, temperature, alpha, label_smoothing)

    return loss
