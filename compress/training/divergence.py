"""Checks that a trained model's weights and logits are finite."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from compress.config.errors import Diverged


def check_weights(module: nn.Module) -> None:
    """Raises Diverged if a weight is not finite."""
    odd = [
        name
        for name, weight in module.named_parameters()
        if weight.is_floating_point() and not weight.isfinite().all()
    ]
    if odd:
        raise Diverged(f"weights are not finite, in {len(odd)} tensors such as {odd[0]}")


def check_logits(module: nn.Module, inputs: dict[str, Tensor]) -> None:
    """Raises Diverged if the logits of a batch are not finite: large weights overflow only here."""
    with torch.no_grad():
        if not module(**inputs).logits.isfinite().all():
            raise Diverged("the logits are not finite")
