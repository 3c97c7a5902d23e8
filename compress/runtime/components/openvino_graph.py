"""OpenVINO graphs of models, with access to weights by their torch names.

A weight is found through the operator that reads it: quantizers put other constants in its place,
with scales and zero points in between, and leave the reader where it was.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from compress.quantizer.components.grouped import GroupedLinear
from compress.serve.openvino import import_openvino
from compress.transformer.stacks import tied_output

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.interfaces import CompressedModel, TrainingData

# What a quantizer puts between a constant and the operator that reads it.
DEQUANTIZATION = ("Convert", "Multiply", "Subtract", "Reshape", "FakeQuantize")
INTEGERS = ("i4", "u4", "i8", "u8")


@dataclass(frozen=True)
class OpenVinoSource:
    """A float model to be converted to a format.

    Attributes:
        graph: the model for OpenVINO, all in float32.
        initializers: by parameter, the name of its constant.
        readers: from `all_readers`: by parameter, everything that computes with it.
        model: the same model in torch.
        layers: codes in groups that Linear layers have in torch.
        data: rows to calibrate and to validate on; never those that the model is evaluated on.
    """

    graph: Any
    initializers: Mapping[str, str]
    readers: Mapping[str, Sequence[tuple[str, int]]]
    model: CompressedModel
    layers: Mapping[str, GroupedLinear]
    data: TrainingData

    def places(self, names: Iterable[str]) -> dict[str, Sequence[tuple[str, int]]]:
        """What reads the weight of each module; those that nothing reads are left out."""
        return {name: self.readers[f"{name}.weight"] for name in names if self.reads(name)}

    def reads(self, name: str) -> bool:
        """Whether the graph reads a module's weight: BigBird's classifier never runs its pooler."""
        return f"{name}.weight" in self.readers


def operators(graph: Any) -> dict[str, Any]:
    """All nodes of a graph by name."""
    return {node.get_friendly_name(): node for node in graph.get_ops()}


def constants(graph: Any) -> dict[str, Any]:
    """The constants of a graph by name."""
    found = (node for node in graph.get_ops() if node.get_type_name() == "Constant")
    return {node.get_friendly_name(): node for node in found}


def weight_readers(graph: Any, initializers: Mapping[str, str]) -> dict[str, tuple[str, int]]:
    """Operator and input index that read each parameter of a float model's graph."""
    held, readers = constants(graph), {}
    for parameter, name in initializers.items():
        # Equal weights are one constant; the reader of this one bears its module's name.
        path = parameter.rpartition(".")[0]
        found = _places(held[name])
        own = {each for each in found if each[0].split("/")[0] == path}
        readers[parameter] = min(own or found)
    return readers


def all_readers(
    graph: Any, initializers: Mapping[str, str], readers: Mapping[str, tuple[str, int]]
) -> dict[str, list[tuple[str, int]]]:
    """All operators that read each matrix: a layer may run several times.

    Not all of them read one constant: ALBERT's graph holds some weights as they are and transposed.

    Returns:
        By parameter, its readers of the kind of the one in `readers`, which comes first.
    """
    nodes = operators(graph)
    places: dict[bytes, set[tuple[str, int]]] = {}
    for constant in constants(graph).values():
        if len(constant.get_output_shape(0)) == 2:
            places.setdefault(_digest(constant.get_data()), set()).update(_places(constant))
    every = {}
    for parameter, first in readers.items():
        value = nodes[initializers[parameter]].get_data()
        forms = (value, value.T) if value.ndim == 2 else ()
        same = {place for form in forms for place in places.get(_digest(form), ())} - {first}
        kind = nodes[first[0]].get_type_name()
        every[parameter] = [
            first, *sorted(p for p in same if nodes[p[0]].get_type_name() == kind)
        ]  # fmt: skip
    return every


def table_readers(
    graph: Any, module: PreTrainedModel, initializers: Mapping[str, str]
) -> dict[str, list[tuple[str, int]]]:
    """What reads an embedding table that is the output layer's weight too, of any kind."""
    if (tied := tied_output(module)) is None:
        return {}
    parameter = f"{tied[1]}.weight"
    return {parameter: sorted(_places(constants(graph)[initializers[parameter]]))}


def _places(constant: Any) -> set[tuple[str, int]]:
    """Operators and input indices that read a constant."""
    inputs = constant.output(0).get_target_inputs()
    return {(each.get_node().get_friendly_name(), each.get_index()) for each in inputs}


def _digest(values: np.ndarray[Any, Any]) -> bytes:
    shape = repr((values.dtype.str, values.shape)).encode()
    return sha256(shape + np.ascontiguousarray(values).tobytes()).digest()


def name_weights_(graph: Any, readers: Mapping[str, tuple[str, int]]) -> dict[str, str]:
    """Renames constants to the parameters that they store.

    Args:
        graph: in its format; changed.
        readers: from `weight_readers`, before the format.

    Returns:
        By parameter, the name of its constant; parameters with equal values may share one.
    """
    nodes = operators(graph)
    named: dict[str, str] = {}
    owners: dict[str, str] = {}
    for parameter, (reader, index) in readers.items():
        source = _constant_behind(nodes[reader].input_value(index).get_node())
        owner = owners.setdefault(source.get_name(), parameter)
        source.set_friendly_name(owner)
        named[parameter] = owner
    return named


def is_transposed(node: Any) -> bool:
    """Whether an operator reads its weight as [in, out]."""
    return node.get_type_name() == "MatMul" and not node.get_attributes()["transpose_b"]


def transposed_constants(graph: Any) -> set[str]:
    """Names of the weights that a MatMul reads as [in, out], in any format."""
    found = set()
    for node in graph.get_ops():
        if node.get_type_name() != "MatMul":
            continue
        source, transposed = node.input_value(1).get_node(), is_transposed(node)
        while source.get_type_name() in (*DEQUANTIZATION, "Transpose"):
            transposed ^= source.get_type_name() == "Transpose"
            source = source.input_value(0).get_node()
        if source.get_type_name() == "Constant" and transposed:
            found.add(source.get_friendly_name())
    return found


def float_weights(graph: Any, readers: Sequence[tuple[str, int]]) -> list[Tensor]:
    """The dequantized weight that each operator computes with; some are transposed."""
    openvino = import_openvino()
    graph = graph.clone()
    nodes = operators(graph)
    outputs = [nodes[reader].input_value(index) for reader, index in readers]
    part = openvino.Model([openvino.opset13.result(each) for each in outputs], [], "weights")
    compiled = openvino.Core().compile_model(part, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [torch.from_numpy(value.copy()) for value in compiled([]).to_tuple()]


@torch.no_grad()
def with_weights(module: PreTrainedModel, weights: Mapping[str, Tensor]) -> PreTrainedModel:
    """A copy of a model in float32 with other weights.

    Args:
        module: left as it is.
        weights: by parameter name, near what they replace, as they are or transposed.
    """
    made = copy.deepcopy(module).float()
    for name, parameter in made.named_parameters():
        if name in weights:
            value = weights[name].to(parameter)
            forms = [value, value.mT] if value.dim() == 2 else [value]
            fitting = [form for form in forms if form.shape == parameter.shape]
            parameter.copy_(min(fitting, key=lambda form: float((form - parameter).norm())))
    return made


def weight_tensor(constant: Any) -> Tensor:
    """A weight as stored: float, or codes minus their zero points."""
    kind = constant.get_element_type().get_type_name()
    if kind == "bf16":
        return torch.from_numpy(constant.get_data(dtype=np.float32)).bfloat16()
    if kind not in INTEGERS:
        return torch.from_numpy(np.array(constant.get_data()))
    codes = _integers(constant)
    node, shape = constant, list(codes.shape)
    while True:
        node = next(iter(node.output(0).get_target_inputs())).get_node()
        if node.get_type_name() not in DEQUANTIZATION:
            return codes.reshape(shape).to(torch.int16 if kind == "u8" else torch.int8)
        if node.get_type_name() == "Subtract":
            codes = codes - _integers(_constant_behind(node.input_value(1).get_node()))
        if node.get_type_name() == "Reshape":
            shape = list(node.get_output_shape(0))


def weight_bits(constant: Any) -> int:
    """Bits per entry on disk."""
    return int(constant.get_element_type().bitwidth)


def _integers(constant: Any) -> Tensor:
    """The integers in a constant, or those next to real zero points.

    int4 is unpacked, lower half byte first.
    """
    kind, shape = constant.get_element_type().get_type_name(), list(constant.get_output_shape(0))
    stored = np.array(constant.get_data())
    if weight_bits(constant) == 4:
        pairs = stored.view(np.uint8).reshape(-1)
        stored = np.stack([pairs & 15, pairs >> 4], axis=-1).reshape(-1)[: math.prod(shape)]
        stored = stored.astype(np.int16)
        stored = (stored ^ 8) - 8 if kind == "i4" else stored
    return torch.from_numpy(np.rint(stored).astype(np.int16)).reshape(shape)


def _constant_behind(node: Any) -> Any:
    while node.get_type_name() in DEQUANTIZATION:
        node = node.input_value(0).get_node()
    assert node.get_type_name() == "Constant", f"the weight is computed by a {node}"
    return node
