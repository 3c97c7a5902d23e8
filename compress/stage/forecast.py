"""Predicts a model's parameters and size before anything is trained or loaded."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from compress.core.monitor import Forecast
from compress.interfaces import Quantizer
from compress.transformer.blocks import every_linear, shape_of
from compress.transformer.stacks import embedding_tables

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.stage.run import Run


def forecast(run: Run) -> Forecast:
    """Parameters and minimum bytes; unknown if shapes depend on weights or rows."""
    skeleton = run.pruner.check(run.student.check(run.teacher.skeleton(run.task.head)))
    if not (run.student.foresees_shapes() and run.pruner.foresees_shapes()):
        return Forecast(parameters=None, least_bytes=None)
    parameters = sum(parameter.numel() for parameter in skeleton.parameters())
    return Forecast(parameters, least_bytes(skeleton, run.quantizer))


def least_bytes(skeleton: PreTrainedModel, quantizer: Quantizer) -> int:
    """Minimum bytes: the codes of all Linear layers and embedding tables.

    A weight that is shared counts once.
    """
    shared: set[int] = set()
    bits = 0
    for _, linear in every_linear(skeleton):
        if id(linear.weight) not in shared:
            bits += math.prod(shape_of(linear)) * quantizer.weight_bits
            shared.add(id(linear.weight))
    for table in embedding_tables(skeleton).values():
        if id(table.weight) not in shared:
            bits += table.weight.numel() * quantizer.table_bits()
            shared.add(id(table.weight))
    return bits // 8
