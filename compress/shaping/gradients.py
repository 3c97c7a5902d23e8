"""Gradients of the label loss on calibration rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor, nn

from compress.core.problem import model_inputs
from compress.interfaces import StageContext
from compress.transformer.calibration import calibration_batches

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.interfaces import Processor


def label_losses(
    module: PreTrainedModel, tokenizer: Processor, ctx: StageContext
) -> Iterator[Float[Tensor, ""]]:
    """The label loss of each calibration row, run alone."""
    rows, problem = ctx.data.calibration, ctx.data.problem
    inputs = calibration_batches(module, tokenizer, rows)
    for row, label in zip(inputs, rows.labels.to(module.device), strict=True):
        logits = problem.outputs(module(**model_inputs(row)).logits.float(), row)
        yield problem.loss(logits, problem.targets(label[None], row))


@contextmanager
def learning_only(module: nn.Module, weights: Collection[Tensor] = ()) -> Iterator[None]:
    """Enables the gradients of these weights only."""
    before = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    module.requires_grad_(False)
    for weight in weights:
        weight.requires_grad_(True)
    try:
        yield
    finally:
        for parameter, learns in before:
            parameter.requires_grad_(learns)
