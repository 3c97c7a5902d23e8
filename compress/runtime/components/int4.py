"""Symmetric int4 as ONNX and OpenVINO graphs hold it: torch's codes, with float16 scales.

Neither runtime has kernels for bfloat16 scales. A bfloat16 number from 2⁻¹⁷ to 65504 is a float16
number too, and so are its products with codes, so that torch computes with the same weights. Steps
below 2⁻¹⁷ are rounded, by at most 2⁻²⁵.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int8
from torch import Tensor

from compress.config.errors import UserError
from compress.transformer.packing import (
    SYMMETRIC_ZERO,
    center_groups,
    group_bound,
    quantize_groups,
)
from compress.transformer.rounding import half_ulp


def check_sizes(weights: Mapping[str, Tensor], runtime: str, largest: float) -> None:
    """Raises a UserError for weights beyond what a runtime's float16 scales can represent."""
    for name, weight in weights.items():
        found = float(weight.abs().max())
        if found > largest:
            raise UserError(
                f"scales of weights are float16 in the {runtime} runtime: {name} has a weight of "
                f"{found:g}, at most {largest:g} is supported"
            )


def int4_groups(
    weight: Float[Tensor, "rows columns"], group_size: int
) -> tuple[Int8[Tensor, "rows columns"], Float[Tensor, "rows groups"]]:
    """Codes of -8..7 and float16 scales of a weight."""
    codes, scale, _ = quantize_groups(weight, group_size, symmetric=True)
    return center_groups(codes, SYMMETRIC_ZERO, group_size), scale.half()


def int4_bound(
    weight: Float[Tensor, "rows columns"], group_size: int
) -> Float[Tensor, "rows columns"]:
    """The largest error of `int4_groups` for each weight."""
    smallest = half_ulp(torch.zeros(()), torch.float16)
    return group_bound(weight, group_size, symmetric=True) + SYMMETRIC_ZERO * smallest
