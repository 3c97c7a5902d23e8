"""A `transformers.Trainer` with a custom loss, that keeps averaged weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import transformers  # its classes load on first use, which keeps config errors fast
from torch import Tensor, nn

from compress.core.problem import model_inputs
from compress.records.curve import CurveRecorder
from compress.training.average import Average
from compress.training.functions import TrainingFunctions

if TYPE_CHECKING:
    from compress.interfaces import TrainingData

# model, inputs of a batch, row numbers [B] → mean loss
Loss = Callable[[nn.Module, dict[str, Tensor], Tensor], Tensor]


def trainer_class() -> type[Any]:
    """A Trainer with a custom loss; defined here because importing Trainer takes seconds."""

    class OwnLossTrainer(transformers.Trainer):  # type: ignore[misc]
        seen: dict[str, Tensor]  # the inputs of the last batch that was learned

        def __init__(
            self,
            loss: Loss,
            data: TrainingData,
            curve: CurveRecorder,
            average: Average,
            dropout: float | None,
            **more: Any,
        ):
            super().__init__(**more)
            # Trainer divides the loss by the accumulation steps only if the model does not.
            self.model_accepts_loss_kwargs = False
            self.own_loss, self.rows, self.curve, self.average = loss, data, curve, average
            self.functions = TrainingFunctions(dropout)

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
                with self.functions:
                    loss = self.own_loss(model, inputs, rows)
                self.curve.add(loss)
                self.seen = model_inputs(inputs)
                return loss
            outputs = model(**model_inputs(inputs))
            labels = self.rows.validation.labels[rows.cpu()].to(rows.device)
            problem = self.rows.problem
            logits = problem.outputs(outputs.logits.float(), inputs)
            loss = problem.loss(logits, problem.targets(labels, inputs))
            return (loss, outputs) if return_outputs else loss

        def evaluate(self, *arguments: Any, **more: Any) -> dict[str, float]:
            """Evaluates the average."""
            with self.average.applied():
                found: dict[str, float] = super().evaluate(*arguments, **more)
                return found

        def save_model(self, *arguments: Any, **more: Any) -> None:
            """Writes the average."""
            with self.average.applied():
                super().save_model(*arguments, **more)

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            """By length. Trainer's looks into a lazy column, which makes the row of each length."""
            sampler = super()._get_train_sampler(train_dataset)
            sampler.lengths = self.train_dataset.with_format(None)["length"][:]
            return sampler

    return OwnLossTrainer
