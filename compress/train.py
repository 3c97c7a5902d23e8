"""Training by `transformers.Trainer`: one function for fine-tuning, distillation and recovery."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import transformers  # its classes load on first use, which keeps config errors fast
from torch import Tensor

from compress.settings import Settings, check_fraction, check_not_negative, check_positive

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments
    from transformers.modeling_outputs import ModelOutput

    from compress.interfaces import Device, Split

# Clipping and decay as in BERT's fine-tuning recipe (Devlin et al. 2019, appendix A.2 and code).
MAX_GRADIENT_NORM = 1.0
WEIGHT_DECAY = 0.01

# logits [B, classes], row numbers [B] → mean loss
RowLoss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Training(Settings):
    """How long and how fast to train; AdamW with linear warm-up and decay.

    Attributes:
        epochs: passes over the train split; 0 trains nothing.
        learning_rate: the peak.
        batch_size: rows per step, grouped by length and padded to the longest.
        warmup_fraction: share of the steps that the rate rises for, in [0, 1).
    """

    epochs: float
    learning_rate: float
    batch_size: int
    warmup_fraction: float

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ConfigError: one is outside what it may be.
        """
        super().__post_init__()
        check_not_negative(self, "epochs")
        check_positive(self, "learning_rate", "batch_size")
        check_fraction(self, "warmup_fraction")


def train_(
    module: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    split: Split,
    training: Training,
    row_loss: RowLoss,
    *,
    device: Device,
    seed: int,
    masks: Mapping[str, Tensor] | None = None,
) -> None:
    """Trains a model in place and leaves it in eval mode on the CPU.

    Args:
        module: any model whose output has `logits`.
        tokenizer: encodes the split.
        split: the rows.
        training: rate, epochs, batch size.
        row_loss: the loss of a batch from its logits and the row numbers in the split.
        device: where to train, and in which precision.
        seed: of data order and dropout.
        masks: by weight name, True where a weight may live; held after every step.
    """
    if training.epochs == 0:
        return
    transformers.set_seed(seed)
    rows = split.encode(tokenizer).add_column("labels", list(range(len(split))))
    with tempfile.TemporaryDirectory() as scratch:
        trainer = transformers.Trainer(
            model=module,
            args=_arguments(scratch, training, device, seed),
            train_dataset=rows,
            data_collator=_collator(tokenizer),
            compute_loss_func=_on_logits(row_loss),
        )
        if masks:
            _hold(masks, module, trainer.create_optimizer())
        trainer.train()
    module.to("cpu").eval()
    module.zero_grad(set_to_none=True)


def _arguments(scratch: str, training: Training, device: Device, seed: int) -> TrainingArguments:
    return transformers.TrainingArguments(
        output_dir=scratch,
        num_train_epochs=training.epochs,
        learning_rate=training.learning_rate,
        per_device_train_batch_size=training.batch_size,
        train_sampling_strategy="group_by_length",
        warmup_steps=training.warmup_fraction,  # below 1 Trainer takes it as a share
        weight_decay=WEIGHT_DECAY,
        max_grad_norm=MAX_GRADIENT_NORM,
        bf16=device.training_dtype() is torch.bfloat16,
        use_cpu=device.torch_device == "cpu",
        dataloader_pin_memory=device.torch_device != "cpu",
        remove_unused_columns=False,  # else the column "length" is gone before it is used
        logging_steps=50,
        save_strategy="no",
        report_to="none",
        log_level="warning",
        seed=seed,
    )


def _collator(tokenizer: PreTrainedTokenizerBase) -> Callable[[list[dict[str, Any]]], Any]:
    """Pads a batch to its longest row; the column "length" is only for grouping."""
    pad = transformers.DataCollatorWithPadding(tokenizer)

    def collate(rows: list[dict[str, Any]]) -> Any:
        return pad([{k: v for k, v in row.items() if k != "length"} for row in rows])

    return collate


def _on_logits(row_loss: RowLoss) -> Callable[..., Tensor]:
    """The form in which Trainer calls a loss. "labels" carries the row numbers."""

    def compute(outputs: ModelOutput, labels: Tensor, **_: Any) -> Tensor:
        return row_loss(outputs["logits"].float(), labels)

    return compute


def _hold(
    masks: Mapping[str, Tensor], module: PreTrainedModel, optimizer: torch.optim.Optimizer
) -> None:
    """Sets pruned weights back to zero after every step of the optimizer."""
    pairs = [(module.get_parameter(name), mask.to(module.device)) for name, mask in masks.items()]

    @torch.no_grad()
    def zero(*_: Any) -> None:
        for weight, mask in pairs:
            weight.mul_(mask)

    optimizer.register_step_post_hook(zero)
