"""Symmetric int4 weights in OpenVINO graphs: constants of codes, dequantized where they are read.

The operators in between are those that NNCF would insert, which OpenVINO fuses into the reader.
NNCF itself chooses other codes than torch's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from compress.runtime.components.int4 import int4_groups
from compress.runtime.components.openvino_graph import (
    OpenVinoSource,
    is_transposed,
    operators,
)
from compress.serve.openvino import import_openvino
from compress.transformer.bit_packing import pack_signed
from compress.transformer.packing import in_groups


def store_int4_(graph: Any, source: OpenVinoSource, groups: Mapping[str, int]) -> None:
    """Replaces float32 weights of a graph by int4 codes and float16 scales.

    Args:
        graph: with the operators of the source; changed.
        source: the float model.
        groups: by layer or table, the group size, which divides its rows.
    """
    nodes, made = operators(graph), {}
    for name, group_size in groups.items():
        for reader, index in source.readers[f"{name}.weight"]:
            node = nodes[reader]
            constant = node.input_value(index).get_node()
            # Equal weights are one constant, with readers of several kinds.
            how = constant.get_name(), is_transposed(node), group_size
            if how not in made:
                weight = torch.from_numpy(constant.get_data().copy())
                made[how] = _dequantized(weight, is_transposed(node), group_size)
            node.input(index).replace_source_output(made[how].output(0))


def _dequantized(weight: Float[Tensor, "rows columns"], transposed: bool, group_size: int) -> Any:
    """The node that makes a weight of its codes; [in, out] if transposed, with groups of inputs."""
    openvino = import_openvino()
    codes, scale = int4_groups(weight.T.contiguous() if transposed else weight, group_size)
    codes, scale = in_groups(codes, group_size), scale[..., None]
    if codes.shape[1] == 1:
        codes, scale = codes[:, 0], scale[:, 0]
    if transposed:
        codes, scale = (x.movedim(0, -1).contiguous() for x in (codes, scale))
    ops, packed = openvino.opset13, pack_signed(codes).numpy()
    held = openvino.Tensor(packed, openvino.Shape(list(codes.shape)), openvino.Type.i4)
    # A tensor does not keep the array whose memory it shares.
    constant = openvino.op.Constant(held, shared_memory=False)
    node = ops.multiply(ops.convert(constant, "f16"), ops.constant(scale.numpy()))
    if codes.dim() > weight.dim():
        node = ops.reshape(node, ops.constant(list(weight.shape)), special_zero=False)
    return ops.convert(node, "f32")
