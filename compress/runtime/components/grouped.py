"""Models whose Linear weights are codes in groups, for runtimes that are given a float graph first.

The graph is exported with the weights that the codes stand for; then the codes take their places.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from compress.config.errors import ConfigError, UserError
from compress.quantizer.components.grouped import GroupedLinear, GroupedWeights
from compress.transformer.blocks import Linear, every_linear, shape_of
from compress.transformer.packing import FLOAT32_SLACK
from compress.transformer.rounding import half_ulp

if TYPE_CHECKING:
    from compress.interfaces import CompressedModel, Quantizer

Fit: TypeAlias = Callable[[str, int, int], int]
SIZES = range(16, 257)  # of groups, to name those that would do


def check_bits(quantizer: GroupedWeights, runtime: str, supported: tuple[int, ...]) -> None:
    """Raises a ConfigError for codes that a runtime has no kernels for."""
    for name in ("bits", "output_bits"):
        bits = getattr(quantizer, name)
        if bits is not None and bits not in supported:
            raise ConfigError(
                f"quantizer.{name}={bits} is not supported for this format by the {runtime} "
                f"runtime; supported: {', '.join(map(str, supported))}, and by torch (device=cpu) "
                "all"
            )


def check_groups(linears: Mapping[str, Linear], group_size: int, runtime: str) -> None:
    """Raises a UserError for a layer whose rows groups do not divide."""
    for name, linear in linears.items():
        columns = shape_of(linear)[1]
        if columns % min(group_size, columns):
            fitting = [size for size in SIZES if columns % size == 0]
            raise UserError(
                f"the {runtime} runtime needs groups that divide a row: {name} has {columns} "
                f"columns, got quantizer.group_size={group_size}; "
                f"of 16 to 256, {', '.join(map(str, fitting)) or 'none'} would divide them"
            )


def scale_bound(weight: Float[Tensor, "out in"], bits: int) -> Float[Tensor, "out in"]:
    """How far weights of bfloat16 scales are from those of the same scales in float16.

    Only scales below 2⁻¹⁷ are rounded; see `int4.py`.
    """
    smallest = half_ulp(torch.zeros(()), torch.float16)
    bound: Tensor = 2**bits * smallest + FLOAT32_SLACK * weight.abs()
    return bound


def apart(
    model: CompressedModel, quantizer: Quantizer, fit: Fit = lambda name, columns, size: size
) -> tuple[CompressedModel, dict[str, GroupedLinear]]:
    """A float model and, for formats in groups, the codes of each Linear.

    The weights of the float model are then those that the codes stand for.

    Args:
        model: with the codes of some Linear layers already; the others are rounded to nearest.
        quantizer: of the codes; the model of other formats is returned as it is, without codes.
        fit: what makes the group size of the rows of a layer, of its name, its columns and the size
            asked for.
    """
    if not isinstance(quantizer, GroupedWeights):
        return model, {}
    parts, linears = model.module.named_modules(), every_linear(model.module)
    layers = {name: part for name, part in parts if isinstance(part, GroupedLinear)}
    formats = quantizer.formats(model.module)
    for name, linear in linears:
        size = fit(name, shape_of(linear)[1], quantizer.group_size)
        layers[name] = replace(formats[name], group_size=size).quantized(linear)
    module = copy.deepcopy(model.module)
    for name, layer in layers.items():
        module.set_submodule(name, _float_linear(layer))
    return replace(model, module=module), layers


@torch.no_grad()
def _float_linear(layer: GroupedLinear) -> nn.Linear:
    linear = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None)
    linear.weight.copy_(layer.matrix())
    if layer.bias is not None:
        linear.bias.copy_(layer.bias)
    return linear.eval()
