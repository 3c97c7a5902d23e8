"""Codes in groups in OpenVINO graphs: constants that are dequantized where they are read.

The operators in between are those that NNCF would insert, which OpenVINO fuses into the reader.
NNCF itself chooses other codes than torch's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from compress.quantizer.components.grouped import REAL, GroupedLinear
from compress.runtime.components.int4 import int4_groups
from compress.runtime.components.openvino_graph import is_transposed, operators
from compress.serve.openvino import import_openvino
from compress.transformer.bit_packing import pack_signed
from compress.transformer.packing import in_groups

COLUMNS = "/columns"  # ends the name of a node that divides what a layer reads


@dataclass(frozen=True)
class GraphCodes:
    """A weight, times a number for each column, as (q − z) · s.

    Attributes:
        codes: q; signed, and z is 0, without zero points.
        scale: s, in float16.
        zero: z, integers or float16.
        bits: of a code.
        columns: what the columns of the weight were multiplied by.
    """

    codes: Int[Tensor, "rows columns"]
    scale: Float[Tensor, "rows groups"]
    zero: Shaped[Tensor, "rows groups"] | None = None
    bits: int = 4
    columns: Float[Tensor, " columns"] | None = None

    @classmethod
    def int4(cls, weight: Float[Tensor, "rows columns"], group_size: int) -> Self:
        """A weight rounded to symmetric int4."""
        return cls(*int4_groups(weight, group_size))

    @classmethod
    def of(cls, layer: GroupedLinear) -> Self:
        """The codes of a layer, whose rows its groups divide."""
        assert layer.bits is not None, "every layer has its own"
        codes, zero, scale = layer.stored_codes(), layer.zero_points(), layer.scale.half()
        columns = None if layer.columns is None else layer.columns.float()
        if isinstance(zero, int):
            return cls((codes.int() - zero).to(torch.int8), scale, None, layer.bits, columns)
        zero = zero.half() if layer.zeros == REAL else zero
        return cls(codes, scale, zero, layer.bits, columns)


def store_codes_(
    graph: Any, readers: Mapping[str, Sequence[tuple[str, int]]], weights: Mapping[str, GraphCodes]
) -> None:
    """Replaces float32 weights of a graph by codes.

    Args:
        graph: changed.
        readers: by layer or table, the operators that read its weight, and at which input.
        weights: by layer or table.
    """
    nodes, made = operators(graph), {}
    for name, places in readers.items():
        codes = weights[name]
        for reader, index in places:
            node = nodes[reader]
            constant = node.input_value(index).get_node()
            # Equal weights are one constant, with readers of several kinds.
            how = constant.get_name(), is_transposed(node), codes.scale.shape
            if how not in made:
                made[how] = _dequantized(codes, is_transposed(node))
            node.input(index).replace_source_output(made[how].output(0))
            if codes.columns is not None:
                _divide_(node, 1 - index, codes.columns)


def _dequantized(weight: GraphCodes, transposed: bool) -> Any:
    """The node that makes a weight of its codes; [in, out] if transposed, with groups of inputs."""
    ops, shape = import_openvino().opset13, list(weight.codes.shape)
    size = shape[1] // weight.scale.shape[1]
    parts = [in_groups(weight.codes, size), weight.scale[..., None]]
    parts += [] if weight.zero is None else [weight.zero[..., None]]
    if size == shape[1]:
        parts = [each[:, 0] for each in parts]
    if transposed:
        parts = [each.movedim(0, -1).contiguous() for each in parts]
    kind = f"{'i' if weight.zero is None else 'u'}{weight.bits}"
    node = ops.convert(_integers(parts[0], kind), "f16")
    if weight.zero is not None:
        node = ops.subtract(node, _zero_points(parts[2], kind))
    node = ops.multiply(node, ops.constant(parts[1].numpy()))
    if size < shape[1]:
        whole = shape[::-1] if transposed else shape
        node = ops.reshape(node, ops.constant(whole), special_zero=False)
    return ops.convert(node, "f32")


def _zero_points(zero: Shaped[Tensor, ...], kind: str) -> Any:
    ops = import_openvino().opset13
    if zero.is_floating_point():
        return ops.constant(zero.numpy())
    return ops.convert(_integers(zero, kind), "f16")


def _integers(values: Int[Tensor, ...], kind: str) -> Any:
    """A constant of integers of 4 or 8 bits."""
    openvino = import_openvino()
    stored = (pack_signed(values) if kind[1:] == "4" else values.contiguous()).numpy()
    shape = openvino.Shape(list(values.shape))
    held = openvino.Tensor(stored, shape, getattr(openvino.Type, kind))
    # A tensor does not keep the array whose memory it shares.
    return openvino.op.Constant(held, shared_memory=False)


def _divide_(node: Any, index: int, columns: Float[Tensor, " columns"]) -> None:
    """Divides what an operator reads by a number for each column."""
    ops = import_openvino().opset13
    divided = ops.multiply(node.input_value(index), ops.constant((1 / columns).numpy()))
    divided.set_friendly_name(f"{node.get_friendly_name()}{COLUMNS}")
    node.input(index).replace_source_output(divided.output(0))
