"""Embedding tables of integers in ONNX graphs, with the codes that torch has.

int8: a lookup gathers codes and their rows' float32 scales, and multiplies them. int4: one operator
of ONNX Runtime's own does both, in float16, which represents each product exactly; an id beyond the
table is a row of zeros to it, not an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from compress.runtime.components.int4 import check_sizes, int4_bound, int4_groups
from compress.runtime.components.onnx_export import as_tensor, initializer_names
from compress.runtime.components.onnx_quantize import CODES, SCALES
from compress.transformer.bit_packing import pack_signed
from compress.transformer.packing import channel_bound, quantize_per_channel
from compress.transformer.quantized_embedding import INT4_GROUP_SIZE
from compress.transformer.rounding import check_rounding
from compress.transformer.stacks import embedding_tables

if TYPE_CHECKING:
    import onnx

    from compress.interfaces import CompressedModel

# The domain of ONNX Runtime's own operators, and the first file version with int4.
MICROSOFT, INT4_IR_VERSION = "com.microsoft", 10


def quantize_tables(graph: onnx.ModelProto, model: CompressedModel, choice: str) -> onnx.ModelProto:
    """The graph with embedding tables in a format of `quantizer.embeddings`.

    Args:
        graph: with float tables; changed.
        model: what was exported.
        choice: int8 or int4; none for no change.

    Raises:
        UserError: a weight is too large for float16.
    """
    names = initializer_names(graph, model.module)
    tables = {f"{table}.weight" for table in embedding_tables(model.module)}
    held = {names[table] for table in tables if table in names} if choice != "none" else set()
    coded, gather = (_int8_table, _int8_lookup) if choice == "int8" else (_int4_table, _int4_lookup)
    restored = _int8_restored if choice == "int8" else _int4_restored
    for each in list(graph.graph.initializer):
        if each.name in held:
            graph.graph.initializer.remove(each)
            graph.graph.initializer.extend(coded(each))
    nodes: list[onnx.NodeProto] = []
    whole: set[str] = set()
    for node in graph.graph.node:
        is_lookup = node.op_type == "Gather" and node.input[0] in held
        # An output layer that is the table.
        for table in () if is_lookup else held.intersection(node.input) - whole:
            nodes += restored(table)
            whole.add(table)
        nodes += gather(node) if is_lookup else [node]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    if choice == "int4":
        graph.opset_import.add(domain=MICROSOFT, version=1)
        graph.ir_version = max(graph.ir_version, INT4_IR_VERSION)
    return graph


def _int8_table(table: onnx.TensorProto) -> list[onnx.TensorProto]:
    """The int8 codes and float32 scales of the rows of an embedding table."""
    from onnx import numpy_helper

    weight = as_tensor(table)
    codes, scale = quantize_per_channel(weight)
    check_rounding(table.name, weight, codes * scale[:, None], channel_bound(weight))
    pair = {CODES: codes, SCALES: scale[:, None]}
    return [
        numpy_helper.from_array(value.numpy(), f"{table.name}{suffix}")
        for suffix, value in pair.items()
    ]


def _int8_lookup(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """The lookup of a Gather in an int8 table."""
    from onnx import helper

    (table, ids), rows = node.input, node.output[0]
    codes, floats, scales = (f"{rows}/{part}" for part in ("codes", "floats", "scales"))
    return [
        helper.make_node("Gather", [f"{table}{CODES}", ids], [codes], node.name),
        helper.make_node("Cast", [codes], [floats], f"{node.name}/cast", to=1),
        helper.make_node("Gather", [f"{table}{SCALES}", ids], [scales], f"{node.name}/scale"),
        helper.make_node("Mul", [floats, scales], [rows], f"{node.name}/mul"),
    ]


def _int8_restored(table: str) -> list[onnx.NodeProto]:
    """A whole int8 table as floats, under its own name."""
    from onnx import helper

    floats = f"{table}/floats"
    return [
        helper.make_node("Cast", [f"{table}{CODES}"], [floats], f"{table}/cast", to=1),
        helper.make_node("Mul", [floats, f"{table}{SCALES}"], [table], f"{table}/mul"),
    ]


def _int4_table(table: onnx.TensorProto) -> list[onnx.TensorProto]:
    """The int4 codes and float16 scales of the groups of an embedding table."""
    from onnx import TensorProto, helper, numpy_helper

    weight = as_tensor(table)
    check_sizes({table.name: weight}, "onnxruntime", torch.finfo(torch.float16).max)
    codes, scale = int4_groups(weight, INT4_GROUP_SIZE)
    packed = pack_signed(codes).numpy().tobytes()
    made = helper.make_tensor(
        f"{table.name}{CODES}", TensorProto.INT4, weight.shape, packed, raw=True
    )
    restored = as_tensor(made).float()
    restored *= scale.float().repeat_interleave(INT4_GROUP_SIZE, dim=1)[:, : weight.shape[1]]
    check_rounding(table.name, weight, restored, int4_bound(weight, INT4_GROUP_SIZE))
    return [made, numpy_helper.from_array(scale.numpy(), f"{table.name}{SCALES}")]


def _int4_lookup(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """The lookup of a Gather in an int4 table."""
    from onnx import helper

    (table, ids), rows = node.input, node.output[0]
    inputs, halves = [f"{table}{CODES}", ids, f"{table}{SCALES}"], f"{rows}/halves"
    how = {"gather_axis": 0, "quantize_axis": 1, "block_size": INT4_GROUP_SIZE, "bits": 4}
    return [
        helper.make_node(
            "GatherBlockQuantized", inputs, [halves], node.name, domain=MICROSOFT, **how
        ),
        helper.make_node("Cast", [halves], [rows], f"{node.name}/cast", to=1),
    ]


def _int4_restored(table: str) -> list[onnx.NodeProto]:
    """A whole int4 table as floats, under its own name: a lookup of every row."""
    from onnx import helper

    size, count, rows = (f"{table}/{part}" for part in ("size", "count", "rows"))
    ends = [f"{table}/{part}" for part in ("zero", "one")]
    values = [helper.make_node("Constant", [], [end], value_int=i) for i, end in enumerate(ends)]
    lookup = helper.make_node("Gather", [table, rows], [table], f"{table}/whole")
    return [
        *values,
        helper.make_node("Shape", [f"{table}{SCALES}"], [size], start=0, end=1),
        helper.make_node("Squeeze", [size], [count]),
        helper.make_node("Range", [ends[0], count, ends[1]], [rows]),
        *_int4_lookup(lookup),
    ]
