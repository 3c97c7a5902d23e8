"""Zeros that training must keep."""

from __future__ import annotations

from jaxtyping import Bool
from torch import Tensor

from compress.interfaces import CompressedModel
from compress.measure.sparsity import live_patterns, live_zeros


def held_masks(model: CompressedModel) -> dict[str, Bool[Tensor, ...]]:
    """For every weight that a pruner left zeros in: True where it is not zero."""
    zeros = {name: count for name, count in live_zeros(model.history).items() if count}
    parameters = dict(model.module.named_parameters())
    return {n: parameters[n].detach() != 0 for n in {**zeros, **live_patterns(model.history)}}
