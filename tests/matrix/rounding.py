"""How far the weights that an artifact stands for are from those that it was made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from tests.matrix.references import linears, matrix

# Relative error of a weight in so many bits: int8 per row, and 4 bits in groups of 64 or less of
# weights of a normal distribution, for which NF4's own error is 0.09 and int4's 0.08.
WEIGHT_ERROR = {8: 0.01, 4: 0.13}
# Of what a layer puts out, on rows that it was not calibrated on. Smoothing widens the ranges of
# weights that are rounded to int8.
PRODUCT_ERROR = {8: 0.02, 4: 0.16}


def check_weights(plain: PreTrainedModel, matrices: Mapping[str, Tensor], allowed: float) -> None:
    """Holds the weights that an artifact stands for against those that it was made of.

    Raises:
        ValueError: one is too far off.
    """
    for name, restored in matrices.items():
        before = matrix(plain.get_submodule(name))
        _check(name, restored - before, before, allowed)


def check_products(
    plain: PreTrainedModel,
    matrices: Mapping[str, Tensor],
    batches: Iterable[Mapping[str, Tensor]],
    allowed: float,
) -> None:
    """Holds what layers put out against what they put out before, for the plain model's inputs.

    For formats that choose weights by their products: those are not the nearest weights. Layers
    that get no input, as experts may, are held against their weights.

    Raises:
        ValueError: one is too far off.
    """
    inputs = _inputs(plain, batches)
    for name, restored in matrices.items():
        before = matrix(plain.get_submodule(name))
        seen = inputs.get(name, torch.eye(before.shape[1]))
        _check(f"what {name} puts out", seen @ (restored - before).T, seen @ before.T, allowed)


@torch.no_grad()
def _inputs(
    plain: PreTrainedModel, batches: Iterable[Mapping[str, Tensor]]
) -> dict[str, Float[Tensor, "rows in"]]:
    """What each Linear layer gets, by its name."""
    found: dict[str, list[Tensor]] = {}

    def keeps(name: str) -> Any:
        def keep(part: Any, got: Any) -> None:
            found.setdefault(name, []).append(got[0].detach().flatten(0, -2))

        return keep

    hooks = [part.register_forward_pre_hook(keeps(name)) for name, part in linears(plain)]
    for batch in batches:
        plain(**batch)
    for hook in hooks:
        hook.remove()
    return {name: torch.cat(parts) for name, parts in found.items()}


def _check(name: str, error: Tensor, before: Tensor, allowed: float) -> None:
    share = float(error.norm() / before.norm())
    if not share <= allowed:
        raise ValueError(f"{name} is off by {share:.2f} of its norm")
