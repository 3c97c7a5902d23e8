"""Weights counted: how many there are, how many are zero, and whether claims hold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from compress.interfaces import Step


@dataclass(frozen=True)
class WeightCount:
    """Entries of a model's weights.

    Attributes:
        compressible: entries of the Linear layers inside the transformer's layers.
        compressible_zeros: how many of these are zero.
    """

    total: int
    zeros: int
    compressible: int
    compressible_zeros: int


def count_weights(weights: Iterable[tuple[str, Tensor]], compressible: set[str]) -> WeightCount:
    """Counts entries and zeros, over all weights and over the compressible ones."""
    total = zeros = inner = inner_zeros = 0
    for name, tensor in weights:
        empty = tensor.numel() - int(tensor.count_nonzero())
        total += tensor.numel()
        zeros += empty
        if name in compressible:
            inner += tensor.numel()
            inner_zeros += empty
    return WeightCount(total, zeros, inner, inner_zeros)


def check_claims(history: Iterable[Step], weights: Iterable[tuple[str, Tensor]]) -> None:
    """Checks that every weight holds the zeros that the last stage to prune it claimed.

    Raises:
        AssertionError: a claim is broken. That is a bug of a stage or a runtime, not of the user.
    """
    claimed: dict[str, int] = {}
    for step in history:
        claimed.update(step.claimed_zeros)
    found = dict(weights)
    for name, zeros in claimed.items():
        if name not in found:
            raise AssertionError(f"{name} was pruned and is gone from the model")
        counted = found[name].numel() - int(found[name].count_nonzero())
        if counted < zeros:
            raise AssertionError(f"{name} has {counted} zeros, {zeros} were claimed")
