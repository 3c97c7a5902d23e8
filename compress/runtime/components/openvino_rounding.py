"""Checks the rounding error of weights in an OpenVINO graph against the float weights.

NNCF rounds to float16 scales, and its symmetric int8 makes the extreme of larger magnitude the
lowest code; the other extreme may be off by up to a step, as codes end one earlier on that side.
SmoothQuant moves factors from activations into weights; the graph says which, and they are taken
out again. Biases, which a correction changes, are not checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from compress.runtime.components.int4 import int4_bound
from compress.runtime.components.openvino_graph import (
    OpenVinoSource,
    constants,
    float_weights,
    is_transposed,
    operators,
)
from compress.serve.openvino import import_openvino
from compress.transformer.blocks import every_linear, weight_matrix
from compress.transformer.packing import (
    FLOAT32_SLACK,
    INT8_MAX,
    LARGEST_CODE,
    channel_bound,
    in_groups,
)
from compress.transformer.rounding import check_rounding, half_ulp
from compress.transformer.stacks import embedding_tables

if TYPE_CHECKING:
    from transformers import PreTrainedModel

OWN_MODE = "INT4_SYM"  # not left to NNCF, whose name for it this is
SMOOTHING = "nncf_smooth_quant"  # in the name of the node that divides activations
# Of the format with the fewest steps: our int4 scales are at most 1/7 of a group's largest weight.
LARGEST_WEIGHT = 7 * torch.finfo(torch.float16).max
# In its fix_zero_filters_symmetric.
EMPTY_CHANNEL, SMALLEST_RANGE = 0.01, 8e-5
SMALLEST_STEP = torch.finfo(torch.float32).eps  # NNCF's smallest scale


def matrices(module: PreTrainedModel) -> dict[str, Float[Tensor, "rows columns"]]:
    """The float weights that formats convert: every Linear as [out, in], and the embeddings."""
    linears = {name: weight_matrix(linear).detach() for name, linear in every_linear(module)}
    tables = {name: table.weight.detach() for name, table in embedding_tables(module).items()}
    return {**linears, **tables}


def check_weights(
    source: OpenVinoSource,
    graph: Any,
    names: Iterable[str],
    bound: Callable[[str, Float[Tensor, "rows columns"]], Tensor],
) -> None:
    """Checks weights as OpenVINO itself dequantizes them; see `check_rounding`.

    Args:
        source: the float model.
        graph: in its format.
        names: of the layers and tables in that format.
        bound: the largest error of a weight, by its name and its float value.
    """
    weights = matrices(source.model.module)
    # A layer whose result nothing reads is not in the graph.
    places = [
        (name, reader) for name in names if source.reads(name)
        for reader in source.readers[f"{name}.weight"]
    ]  # fmt: skip
    nodes = operators(graph)
    found = float_weights(graph, [reader for _, reader in places])
    for (name, (reader, index)), restored in zip(places, found, strict=True):
        node, weight = nodes[reader], weights[name]
        restored = restored.T if is_transposed(node) else restored
        factors = _smoothing(node, index)
        weight = weight if factors is None else weight * factors
        check_rounding(name, weight, restored, bound(name, weight))


def compressed_bound(
    weight: Float[Tensor, "rows columns"], mode: str, group_size: int
) -> Float[Tensor, "rows columns"]:
    """The largest rounding error of `compress_weights` for each weight.

    Ours, for INT4_SYM; of NNCF's modes half a step, one where the far end of the range is cut off,
    and what float16 adds to a scale.
    """
    if mode == OWN_MODE:
        return int4_bound(weight, group_size)
    grouped = in_groups(weight, group_size if group_size > 0 else weight.shape[1])
    if mode.endswith("ASYM"):
        ends = grouped.aminmax(dim=-1)
        levels = LARGEST_CODE
        step = (ends.max.clamp(min=0) - ends.min.clamp(max=0)) / levels
        cut = torch.zeros_like(grouped)
    else:
        levels = INT8_MAX + 1
        step = grouped.abs().amax(dim=-1) / levels
        cut = grouped.abs() - (levels - 1) * step[..., None]
    step = step.clamp_min(SMALLEST_STEP)[..., None]
    # Below its smallest normal number steps of float16 are even, and small scales off by more.
    scale = levels * half_ulp(step, torch.float16)
    return (torch.maximum(step / 2, cut) * (1 + FLOAT32_SLACK) + scale).flatten(-2)


def static_bound(weight: Float[Tensor, "out in"]) -> Float[Tensor, "out 1"]:
    """The largest rounding error of `nncf.quantize` for each int8 weight.

    Half a step of an output channel, but no steps smaller than for a hundredth of the layer's
    largest weight or 8e-5, below which a channel counts as empty. Levels are computed from the ends
    of their range, which moves them a little.
    """
    largest = weight.abs().amax(dim=1, keepdim=True)
    smallest = (largest.max() * EMPTY_CHANNEL).clamp_min(SMALLEST_RANGE)
    return 1.01 * channel_bound(largest.maximum(smallest))


def store_bfloat16_(graph: Any, names: set[str]) -> None:
    """Replaces float32 constants by bfloat16 constants followed by a conversion to float32."""
    openvino = import_openvino()
    for name, constant in constants(graph).items():
        if name not in names:
            continue
        rounded = torch.from_numpy(np.array(constant.get_data())).bfloat16().view(torch.int16)
        tensor = openvino.Tensor(openvino.Type.bf16, list(rounded.shape))
        tensor.data.view(np.int16)[...] = rounded.numpy()
        stored = openvino.op.Constant(tensor)
        wide = openvino.opset13.convert(stored, "f32")
        constant.output(0).replace(wide.output(0))
        constant.set_friendly_name(f"{name}/float32")
        stored.set_friendly_name(name)


def _smoothing(reader: Any, index: int) -> Float[Tensor, " in"] | None:
    """SmoothQuant's factors for the columns of an operator's input weight; None without it."""
    node = reader.input_value(1 - index).get_node()
    while node.get_type_name() in ("FakeQuantize", "Multiply"):
        if SMOOTHING in node.get_friendly_name() and node.get_type_name() == "Multiply":
            divisors = node.input_value(1).get_node().get_data()
            return 1 / torch.from_numpy(np.array(divisors)).flatten()
        node = node.input_value(0).get_node()
    return None
