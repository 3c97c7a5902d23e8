"""Checks the rounding error of weights in an OpenVINO graph against the float weights.

NNCF rounds to float16 scales, and its symmetric int8 makes the extreme of larger magnitude the
lowest code; the other extreme may be off by up to a step, as codes end one earlier on that side.
SmoothQuant and AWQ move factors from activations into weights; the graph says which, and they are
taken out again. Biases, which a correction changes, are not checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from compress.runtime.components.openvino_codes import COLUMNS
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
    channel_bound,
)
from compress.transformer.rounding import check_rounding, half_ulp
from compress.transformer.stacks import embedding_tables

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SMOOTHING = "nncf_smooth_quant"  # in the name of the node by which NNCF divides activations
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
    if not places:
        return
    nodes = operators(graph)
    found = float_weights(graph, [reader for _, reader in places])
    for (name, (reader, index)), restored in zip(places, found, strict=True):
        node, weight = nodes[reader], weights[name]
        restored = restored.T if is_transposed(node) else restored
        factors = _factors(node, index)
        weight = weight if factors is None else weight * factors
        check_rounding(name, weight, restored, bound(name, weight))


def plain_weights(graph: Any, readers: Sequence[tuple[str, int]]) -> list[Tensor]:
    """As `float_weights`, without what columns were multiplied by."""
    nodes, plain = operators(graph), []
    for (reader, index), weight in zip(readers, float_weights(graph, readers), strict=True):
        factors = _factors(nodes[reader], index)
        if factors is not None:
            weight = weight / (factors[:, None] if is_transposed(nodes[reader]) else factors)
        plain.append(weight)
    return plain


def int8_bound(weight: Float[Tensor, "rows columns"]) -> Float[Tensor, "rows columns"]:
    """The largest rounding error of `nncf.compress_weights` in symmetric int8 for each weight.

    Half a step, one where the far end of the range is cut off, and what float16 adds to a scale.
    """
    levels = INT8_MAX + 1
    largest = weight.abs().amax(dim=1, keepdim=True)
    step = (largest / levels).clamp_min(SMALLEST_STEP)
    cut = weight.abs() - (levels - 1) * step
    # Below its smallest normal number steps of float16 are even, and small scales off by more.
    scale = levels * half_ulp(step, torch.float16)
    return torch.maximum(step / 2, cut) * (1 + FLOAT32_SLACK) + scale


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


def _factors(reader: Any, index: int) -> Float[Tensor, " in"] | None:
    """What the columns of an operator's weight were multiplied by; None if by nothing."""
    node = reader.input_value(1 - index).get_node()
    while node.get_type_name() in ("FakeQuantize", "Multiply"):
        name = node.get_friendly_name()
        if node.get_type_name() == "Multiply" and (SMOOTHING in name or name.endswith(COLUMNS)):
            divisors = node.input_value(1).get_node().get_data()
            return 1 / torch.from_numpy(np.array(divisors)).flatten()
        node = node.input_value(0).get_node()
    return None
