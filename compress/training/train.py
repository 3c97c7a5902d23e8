"""Training by `transformers.Trainer`: one function for fine-tuning, distillation and recovery."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
import transformers  # its classes load on first use, which keeps config errors fast
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from compress.config.errors import Diverged
from compress.config.fields import (
    BatchSize,
    Fraction,
    NotNegative,
    OpenFraction,
    Positive,
    PositiveInt,
)
from compress.config.settings import Settings
from compress.core.monitor import UNWATCHED, Monitor
from compress.measure.score import predict_all, score
from compress.records.curve import CurvePoint, CurveRecorder
from compress.system.files import scratch_folder
from compress.training.average import Average
from compress.training.divergence import check_logits, check_weights
from compress.training.optimizer import extend_
from compress.training.progress import TrainingBar
from compress.training.trainer import Loss, trainer_class
from compress.transformer.torch_model import TorchModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel, TrainingArguments

    from compress.interfaces import Device, Processor, Split, TrainingData

# Clipping and decay as in BERT's fine-tuning recipe (Devlin et al. 2019, appendix A.2 and code).
MAX_GRADIENT_NORM = 1.0
WEIGHT_DECAY = 0.01
EVALUATION_BATCH = 8  # rows; Trainer's own
# What accelerate puts into a module: a forward with autocast, and a mark. With the one it would
# compute in bfloat16 until it is saved and loaded, with the other it would never get autocast
# again, so that a second training would be in float32.
PREPARED = ("forward", "_original_forward", "_is_accelerate_prepared")


@dataclass(frozen=True, kw_only=True)
class Training(Settings):
    """How long and how fast to train; AdamW with a warm-up and a decay of the rate.

    Attributes:
        epochs: passes over the rows: the train split and, except for teachers, the transfer text; 0
            trains nothing.
        learning_rate: peak learning rate.
        batch_size: rows per step, grouped by length and padded to the longest. Gradients are
            accumulated over smaller batches if the logits do not fit in memory.
        warmup_fraction: fraction of the steps with a learning rate that rises linearly.
        schedule: how the rate falls to 0 in the other steps: "linear", or "cosine", half a period
            (Loshchilov & Hutter, arXiv:1608.03983, without restarts).
        patience: number of epochs without a better validation loss after which training stops and
            the best epoch's weights are kept; null trains all epochs and keeps the last weights.
        average: decay of an exponential moving average of the weights, such as 0.999. The average
            is kept and validated instead of the weights. The decay rises to this value: see
            `compress/training/average.py`; null for no average.
        dropout: probability in the place of every dropout of the model that is not 0; 0 trains
            without dropout, null with the model's own.
    """

    version = 2

    epochs: NotNegative
    learning_rate: Positive
    batch_size: BatchSize
    warmup_fraction: Fraction
    schedule: Literal["linear", "cosine"]
    patience: PositiveInt | None
    average: OpenFraction | None
    dropout: Fraction | None


@dataclasses.dataclass(frozen=True)
class Objective:
    """The loss of a training, and callbacks around each step of the optimizer.

    Attributes:
        loss: of a batch.
        parameters: parameter groups for AdamW, in addition to the model's own.
        before_step: called before each step with its number, from 0, and the number of steps.
        after_step: called after each step with the same arguments.
        scored: whether the model's scores during the training say how good it will be.
    """

    loss: Loss
    parameters: Sequence[dict[str, Any]] = ()
    before_step: Callable[[int, int], None] | None = None
    after_step: Callable[[int, int], None] | None = None
    scored: bool = True


def train_(
    module: PreTrainedModel,
    tokenizer: Processor,
    data: TrainingData,
    training: Training,
    objective: Objective,
    *,
    device: Device,
    seed: int,
    masks: Mapping[nn.Parameter, Tensor] | None = None,  # False where a weight stays zero
    monitor: Monitor = UNWATCHED,
) -> tuple[CurvePoint, ...]:
    """Trains a model in place and leaves it in eval mode on the CPU.

    Raises:
        Diverged: a loss, a weight or a final logit is not finite.
    """
    if training.epochs == 0:
        return ()
    transformers.set_seed(seed)
    curve = CurveRecorder(monitor.training())
    average = Average(module.to(device.torch_device), training.average)
    scores = partial(_scores, module, tokenizer, data, training, device, average)
    with scratch_folder() as scratch, closing(TrainingBar()) as bar:
        trainer = trainer_class()(
            objective.loss,
            data,
            curve,
            average,
            training.dropout,
            model=module,
            args=_arguments(scratch, training, data.learned, device, seed),
            train_dataset=_rows(data.learned.training_view(seed), tokenizer),
            eval_dataset=_rows(data.validation, tokenizer) if training.patience else None,
            data_collator=partial(_collate, data.learned, tokenizer),
            callbacks=_callbacks(training, objective, curve, (monitor, bar), average, scores),
        )
        trainer.remove_callback(transformers.PrinterCallback)  # a dict on a line of its own
        extend_(trainer.create_optimizer(), objective.parameters, masks or {})
        _run(trainer, module, training)
    return tuple(curve.points)


def _run(trainer: Any, module: PreTrainedModel, training: Training) -> None:
    """Trains, leaves the model in eval mode on the CPU, and checks that it is finite."""
    try:
        trainer.train()
        if training.patience is None:  # else Trainer has loaded the best epoch's average
            trainer.average.swap()
        for name in PREPARED:
            vars(module).pop(name, None)
        module.eval()
        check_weights(module)
        check_logits(module, trainer.seen)
    except Diverged as error:
        raise Diverged(
            f"training diverged at step {trainer.state.global_step} of {trainer.state.max_steps} "
            f"with learning_rate={training.learning_rate:g}: {error}"
        ) from error
    module.to("cpu")
    module.zero_grad(set_to_none=True)


def _rows(split: Split, tokenizer: Processor) -> Any:
    """Encoded rows; the column "labels" carries the row numbers."""
    return split.encode(tokenizer).add_column("labels", list(range(len(split))))


def _arguments(
    scratch: Path, training: Training, rows: Split, device: Device, seed: int
) -> TrainingArguments:
    # Gradient accumulation, if the logits of a batch do not fit in memory.
    parts = math.ceil(training.batch_size / rows.fitting_batch(training.batch_size))
    stop: dict[str, Any] = {"save_strategy": "no"}
    if training.patience:
        stop = {
            "eval_strategy": "epoch",
            "save_strategy": "epoch",
            "save_total_limit": 1,
            "save_only_model": True,
            "load_best_model_at_end": True,
            "metric_for_best_model": "eval_loss",
            "greater_is_better": False,
            "prediction_loss_only": True,
        }
    steps = training.epochs * math.ceil(len(rows) / training.batch_size)
    return transformers.TrainingArguments(
        output_dir=str(scratch),
        num_train_epochs=training.epochs,
        learning_rate=training.learning_rate,
        lr_scheduler_type=training.schedule,
        per_device_train_batch_size=math.ceil(training.batch_size / parts),
        per_device_eval_batch_size=rows.fitting_batch(EVALUATION_BATCH),
        gradient_accumulation_steps=parts,
        train_sampling_strategy="group_by_length",
        # Below 1 Trainer takes it as a share and rounds up: of a single step, to all of it.
        warmup_steps=training.warmup_fraction if steps > 1 else 0,
        weight_decay=WEIGHT_DECAY,
        max_grad_norm=MAX_GRADIENT_NORM,
        bf16=device.training_dtype() is torch.bfloat16,
        use_cpu=device.torch_device == "cpu",
        dataloader_pin_memory=device.torch_device != "cpu",
        remove_unused_columns=False,  # else the column "length" is gone before it is used
        logging_strategy="no",  # the curve has every step
        disable_tqdm=True,
        report_to="none",
        log_level="warning",
        seed=seed,
        **stop,
    )


def _callbacks(
    training: Training,
    objective: Objective,
    curve: CurveRecorder,
    watching: tuple[Monitor, TrainingBar],
    average: Average,
    scores: Callable[[], Mapping[str, float]],
) -> list[Any]:
    monitor, bar = watching

    class Steps(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if objective.before_step:
                objective.before_step(state.global_step, state.max_steps)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if objective.after_step:
                objective.after_step(state.global_step - 1, state.max_steps)
            average.update(state.global_step - 1)
            curve.end_step(state.global_step, state.max_steps, state.epoch)
            monitor.step(state.global_step, state.max_steps)
            bar.update(state.global_step, state.max_steps, curve.last_loss())
            if objective.scored:
                monitor.look(state.global_step, state.max_steps, scores)

        def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any, **_: Any) -> None:
            curve.validate(state.global_step, state.epoch, metrics["eval_loss"])

    callbacks: list[Any] = [Steps()]
    if training.patience:
        callbacks.append(transformers.EarlyStoppingCallback(training.patience))
    return callbacks


def _scores(
    module: PreTrainedModel,
    tokenizer: Processor,
    data: TrainingData,
    training: Training,
    device: Device,
    average: Average,
) -> Mapping[str, float]:
    """Scores on the validation rows during training."""
    module.eval()
    rows, model = data.validation, TorchModel(module, tokenizer, device.torch_device)
    batch_size = rows.fitting_batch(training.batch_size)
    with average.applied():
        kept = predict_all(model, rows, batch_size, data.problem.kept)
    module.train()
    return score(kept, rows, batch_size, data.problem).by_name()


def _collate(split: Split, tokenizer: Processor, rows: list[dict[str, Any]]) -> dict[str, Tensor]:
    """One batch of any split's rows; the column "length" is only for grouping."""
    inputs = [{k: v for k, v in row.items() if k not in {"length", "labels"}} for row in rows]
    numbers = torch.tensor([row["labels"] for row in rows])
    return {**split.batch(tokenizer, inputs), "labels": numbers}
