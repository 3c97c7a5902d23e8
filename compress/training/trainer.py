"""A `transformers.Trainer` with a custom loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import transformers  # its classes load on first use, which keeps config errors fast
from torch import Tensor, nn

from compress.records.curve import CurveRecorder

if TYPE_CHECKING:
    from compress.interfaces import Problem

# model, inputs of a batch, row numbers [B] → mean loss
Loss = Callable[[nn.Module, dict[str, Tensor], Tensor], Tensor]


def trainer_class() -> type[Any]:
    """A Trainer with a custom loss; defined here because importing Trainer takes seconds."""

    class OwnLossTrainer(transformers.Trainer):  # type: ignore[misc]
        objective: Loss
        seen: dict[str, Tensor]  # the inputs of the last batch that was learned
        curve: CurveRecorder
        problem: Problem
        validation_labels: Tensor

        def compute_loss(
            self,
            model: nn.Module,
            inputs: dict[str, Tensor],
            return_outputs: bool = False,
            **_: Any,
        ) -> Any:
            """The objective in training, the label loss in evaluation."""
            rows = inputs.pop("labels")
            if model.training:
                loss = self.objective(model, inputs, rows)
                self.curve.add(loss)
                self.seen = inputs
                return loss
            outputs = model(**inputs)
            labels = self.validation_labels[rows.cpu()].to(rows.device)
            targets = self.problem.targets(labels, inputs)
            loss = self.problem.loss(outputs.logits.float(), targets)
            return (loss, outputs) if return_outputs else loss

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            """By length. Trainer's looks into a lazy column, which makes the row of each length."""
            sampler = super()._get_train_sampler(train_dataset)
            sampler.lengths = self.train_dataset.with_format(None)["length"][:]
            return sampler

    return OwnLossTrainer
