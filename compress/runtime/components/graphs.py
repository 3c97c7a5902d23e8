"""What the files of an artifact execute, without the values of weights.

Two models whose digests are equal run the same operators on tensors of the same types and shapes,
and take equal time: no kernel in use looks at the values (`benchmarks/equal_graphs.py`
checks it).
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from safetensors import safe_open

from compress.serve.folder import WEIGHTS, read_spec
from compress.transformer.checkpoint_files import CONFIG

SCALAR_BYTES = 4


def graph_digest(folder: Path, *facts: Any) -> str:
    """Digest of a folder's runtime and its options, and of `facts`, which JSON can represent."""
    spec = read_spec(folder)
    ran = [spec.runtime, spec.architecture, spec.options]
    return hashlib.sha256(json.dumps([*ran, *facts], sort_keys=True).encode()).hexdigest()


def torch_facts(folder: Path) -> list[Any]:
    """The config, stored modules with their arguments, and each tensor's name, type and shape."""
    modules = {n: [m.kind, m.arguments] for n, m in read_spec(folder).modules.items()}
    return [json.loads((folder / CONFIG).read_bytes()), modules, sorted(_tensors(folder))]


def onnx_facts(path: Path) -> list[Any]:
    """The serialized graph without its floats and codes; whole numbers are sizes and axes."""
    import onnx

    model = onnx.load(str(path))
    for each in model.graph.initializer:
        if each.data_type != onnx.TensorProto.INT64:
            for values in ("raw_data", "float_data", "int32_data", "double_data"):
                each.ClearField(values)
    return [hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()]


def openvino_facts(path: Path) -> list[Any]:
    """The layers of the graph with their attributes and shapes, and its edges; no names.

    Names contain counters of the process that exported the graph, and constants their place in the
    file. Of a constant with one float the sign counts: OpenVINO chooses between signed and unsigned
    activations by it.
    """
    root = ElementTree.parse(path).getroot()
    weights = path.with_suffix(".bin").read_bytes()
    layers = [_layer(layer, weights) for layer in root.iterfind("layers/layer")]
    return [layers, [dict(edge.attrib) for edge in root.iterfind("edges/edge")]]


def _layer(layer: ElementTree.Element, weights: bytes) -> list[Any]:
    data = layer.find("data")
    attributes = dict(data.attrib) if data is not None else {}
    if layer.get("type") == "Const":
        start = int(attributes.pop("offset"))
        size = int(attributes["size"])
        if size == SCALAR_BYTES and attributes["element_type"] == "f32":
            (value,) = struct.unpack_from("<f", weights, start)
            attributes["sign"] = str((value > 0) - (value < 0))
        elif attributes["element_type"] in ("i64", "i32"):
            attributes["values"] = weights[start : start + size].hex()
    ports = [
        [port.get("precision"), *(dim.text for dim in port.iterfind("dim"))]
        for port in layer.iterfind("*/port")
    ]
    return [layer.get("type"), layer.get("version"), attributes, ports]


def _tensors(folder: Path) -> Iterator[list[Any]]:
    for file in sorted(folder.iterdir()):
        if file.suffix == WEIGHTS[0]:
            with safe_open(file, framework="pt") as tensors:
                for name in tensors.keys():  # noqa: SIM118
                    part = tensors.get_slice(name)
                    yield [name, part.get_dtype(), part.get_shape()]
