"""Weights counted: how many there are, how many are zero, and whether the history holds."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Shaped
from torch import Tensor

from compress.interfaces import Step
from compress.records.schema import LayerWeights

# Types with float32's range of exponents; of float16 products are in float32, where its subnormal
# numbers are normal ones.
WIDE = (torch.float32, torch.bfloat16)


@dataclass(frozen=True)
class WeightCount:
    """Entries of a model's weights.

    Attributes:
        layers: the weights of the Linear layers inside the transformer's layers, one by one.
        subnormal: whether one is not zero, but below the smallest normal float32.
    """

    total: int
    zeros: int
    layers: tuple[LayerWeights, ...]
    subnormal: bool

    @property
    def compressible(self) -> int:
        """Number of entries of these layers."""
        return sum(math.prod(layer.shape) for layer in self.layers)

    @property
    def compressible_zeros(self) -> int:
        """Number of zeros in these layers."""
        return sum(layer.zeros for layer in self.layers)

    @property
    def sparsity(self) -> float:
        """Share of zeros in these layers; 0 for models without them, as convolutional ones."""
        return self.compressible_zeros / self.compressible if self.compressible else 0.0


def count_weights(weights: Iterable[tuple[str, Tensor]], compressible: set[str]) -> WeightCount:
    """Counts entries and zeros, over all weights and over the compressible ones."""
    total = zeros = 0
    layers = []
    subnormal = False
    for name, tensor in weights:
        empty = tensor.numel() - int(tensor.count_nonzero())
        total += tensor.numel()
        zeros += empty
        subnormal = subnormal or has_subnormals(tensor)
        if name in compressible:
            layers.append(LayerWeights(name, tuple(tensor.shape), empty))
    return WeightCount(total, zeros, tuple(layers), subnormal)


def has_subnormals(weight: Shaped[Tensor, ...]) -> bool:
    """Whether an entry is subnormal where it is multiplied; see `WeightCount`."""
    if weight.dtype not in WIDE:
        return False
    return bool(((weight != 0) & (weight.abs() < torch.finfo(torch.float32).tiny)).any())


def live_zeros(history: Iterable[Step]) -> dict[str, int]:
    """The zeros that each weight must hold: the last step that names it counts."""
    expected: dict[str, int] = {}
    for step in _of_one_model(history):
        expected = {n: zeros for n, zeros in expected.items() if n not in step.expected_shapes}
        expected.update(step.expected_zeros)
    return expected


def live_shapes(history: Iterable[Step]) -> dict[str, tuple[int, ...] | None]:
    """The shape that each weight must have, None for one that is gone."""
    expected: dict[str, tuple[int, ...] | None] = {}
    for step in _of_one_model(history):
        for name, shape in step.expected_shapes.items():
            expected[name] = None if shape is None else tuple(shape)
    return expected


def live_patterns(history: Iterable[Step]) -> dict[str, tuple[int, int]]:
    """The N:M pattern that each weight must hold; see `Step.expected_patterns`."""
    expected: dict[str, tuple[int, int]] = {}
    for step in _of_one_model(history):
        ended = {*step.expected_zeros, *step.expected_shapes}
        expected = {name: pattern for name, pattern in expected.items() if name not in ended}
        expected.update({name: (n, m) for name, (n, m) in step.expected_patterns.items()})
    return expected


def broken_groups(weight: Shaped[Tensor, "... out in"], kept: int, group: int) -> int | None:
    """Number of groups of `group` (M) consecutive weights of a row with more than `kept` (N).

    Counts codes too, which are zero where the weight is. None if the rows do not divide into
    groups.
    """
    if weight.shape[-1] % group:
        return None
    counts = (weight != 0).reshape(-1, group).sum(dim=1)
    return int((counts > kept).sum())


def check_history(history: Iterable[Step], weights: Iterable[tuple[str, Tensor]]) -> None:
    """Checks that every weight holds what was expected of it last: zeros, shape, N:M pattern.

    Weights of Linear layers are [out, in], as `named_weights` has them.

    Raises:
        AssertionError: a weight differs. That is a bug of a stage or a runtime, not of the user.
    """
    steps, found = list(history), dict(weights)
    for name, shape in live_shapes(steps).items():
        kept = tuple(found[name].shape) if name in found else None
        # Sorted: a format may store a matrix transposed.
        if (kept and sorted(kept)) != (shape and sorted(shape)):
            raise AssertionError(f"{name} has shape {kept}, {shape} was expected")
    for name, zeros in live_zeros(steps).items():
        if name not in found:
            raise AssertionError(f"{name} was pruned and is gone from the model")
        counted = found[name].numel() - int(found[name].count_nonzero())
        if counted < zeros:
            raise AssertionError(f"{name} has {counted} zeros, {zeros} were expected")
    for name, (most, group) in live_patterns(steps).items():
        if name not in found:
            raise AssertionError(f"{name} was pruned as {most}:{group} and is gone from the model")
        broken = broken_groups(found[name], most, group)
        if broken != 0:
            words = "no whole groups" if broken is None else f"{broken} groups with more"
            raise AssertionError(f"{name} has {words}, the pattern {most}:{group} was expected")


def _of_one_model(history: Iterable[Step]) -> list[Step]:
    """The steps from the last student on: what was expected of its teacher does not hold of it."""
    steps = list(history)
    starts = [number for number, step in enumerate(steps) if step.stage == "student"]
    return steps[starts[-1] :] if starts else steps
