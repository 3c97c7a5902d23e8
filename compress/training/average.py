"""Exponential moving average of a model's weights.

Polyak & Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM J. Control Optim.
30:838, 1992; the decay rises at first as in TensorFlow's `tf.train.ExponentialMovingAverage`, so
that a short training does not keep the weights that it began with.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class Average:
    """θ̄ ← d · θ̄ + (1 - d) · θ after step t, from 0, with d = min(decay, (1 + t) / (10 + t)).

    It begins as the weights. Zeros that a mask holds are zeros of the average too. Buffers, such as
    the statistics of a batch norm, are those of the last step.
    """

    def __init__(self, module: nn.Module, decay: float | None) -> None:
        """Copies the weights, where the module is; null: there is no average."""
        self._decay = decay
        trained = [weight for weight in module.parameters() if weight.requires_grad]
        self._weights = [] if decay is None else trained
        self._averages = [weight.detach().clone() for weight in self._weights]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes the weights after a step of the optimizer, from 0."""
        if self._decay is not None:
            decay = min(self._decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(self._averages, [w.detach() for w in self._weights], 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Puts the average in the place of the weights, which come back afterwards."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    def swap(self) -> None:
        """Exchanges the weights and their average."""
        for number, weight in enumerate(self._weights):
            weight.data, self._averages[number] = self._averages[number], weight.data
