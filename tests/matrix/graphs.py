"""What Linear layers in exported graphs multiply by, as the runtimes themselves dequantize it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from compress.serve.openvino import import_openvino


def openvino_matrices(path: Path, names: Collection[str]) -> dict[str, Float[Tensor, "out in"]]:
    """What Linear layers in OpenVINO multiply by, in float, by their names in torch."""
    openvino = import_openvino()
    graph = openvino.Core().read_model(path)
    found = {}
    nodes = {node.get_friendly_name().split("/")[0]: node for node in graph.get_ops()}
    # What a graph puts out is called logits, whatever the layer that makes it is called.
    output = next((name for name in names if name not in nodes), "")
    last = graph.output(0).get_node().input_value(0).get_node().get_friendly_name()
    for node in graph.get_ops():
        name = node.get_friendly_name().split("/")[0]
        name = output if node.get_friendly_name() == last else name
        if node.get_type_name() == "MatMul" and name in names:
            weight = _constant_value(openvino, node.input_value(1))
            weight = weight if node.get_attributes()["transpose_b"] else weight.T
            found[name] = weight * _column_factors(node.input_value(0).get_node())
    return found


def _constant_value(openvino: Any, output: Any) -> Tensor:
    """What a part of a graph that reads no input puts out."""
    part = openvino.Model([openvino.opset13.result(output)], [], "weight")
    compiled = openvino.Core().compile_model(part, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return torch.from_numpy(compiled([])[0].copy())


def _column_factors(node: Any) -> Tensor:
    """What each column of what an operator reads is multiplied by first."""
    if node.get_type_name() == "Multiply" and node.get_friendly_name().endswith("/columns"):
        return torch.from_numpy(node.input_value(1).get_node().get_data().copy())
    return torch.ones(1)


def onnx_matrices(path: Path, names: Collection[str]) -> dict[str, Float[Tensor, "out in"]]:
    """The same of ONNX Runtime: what layers of codes make of the unit vectors."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    graph = onnx.load(str(path))
    makers = {output: node for node in graph.graph.node for output in node.output}
    found = {}
    for node in graph.graph.node:
        name = node.name.split("/")[0]
        if node.op_type != "MatMulNBits" or name not in names:
            continue
        sizes = {each.name: each.i for each in node.attribute}
        before = makers.get(node.input[0])
        nodes = [node]
        if before is not None and before.op_type == "Mul" and before.name.endswith("/columns"):
            nodes = [before, node]
        used = {each for part in nodes for each in part.input}
        held = [each for each in graph.graph.initializer if each.name in used]
        ends = [
            helper.make_tensor_value_info(place, TensorProto.FLOAT, [None, size])
            for place, size in ((nodes[0].input[0], sizes["K"]), (node.output[0], sizes["N"]))
        ]
        part = helper.make_model(
            helper.make_graph(nodes, "part", ends[:1], ends[1:], held),
            opset_imports=list(graph.opset_import), ir_version=graph.ir_version,
        )  # fmt: skip
        session = onnxruntime.InferenceSession(part.SerializeToString())
        units = np.eye(sizes["K"], dtype=np.float32)
        found[name] = torch.from_numpy(session.run(None, {nodes[0].input[0]: units})[0].T.copy())
    return found
