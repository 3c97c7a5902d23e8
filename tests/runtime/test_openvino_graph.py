"""Weights in small graphs made by hand."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch

from compress.runtime.components.openvino_graph import (
    all_readers,
    constants,
    name_weights_,
    weight_bits,
    weight_readers,
    weight_tensor,
)
from compress.runtime.components.openvino_rounding import store_bfloat16_
from compress.serve.openvino import TELEMETRY, import_openvino, without_telemetry

pytest.importorskip("openvino")


def product(weight: Any, name: str = "layer") -> Any:
    """x · W as a graph; the operator bears the name of the layer."""
    openvino = import_openvino()
    ops = openvino.opset13
    x = ops.parameter([-1, weight.output(0).get_shape()[0]], np.float32, name="x")
    node = ops.matmul(x, weight, False, False)
    node.set_friendly_name(name)
    return openvino.Model([ops.result(node)], [x])


def codes(values: Any, kind: str) -> Any:
    openvino = import_openvino()
    array = np.array(values, dtype=np.uint8 if kind.startswith("u") else np.int8)
    return openvino.opset13.constant(array, dtype=getattr(openvino.Type, kind))


@pytest.mark.parametrize("kind", ["i8", "i4"])
def test_symmetric_codes_are_read_as_they_are(kind: str) -> None:
    ops = import_openvino().opset13
    values = [[1, -2, 0], [7, -8, 5], [0, 3, -1]]
    constant = codes(values, kind)
    graph = product(ops.multiply(ops.convert(constant, "f32"), np.float32(0.5)))
    assert weight_tensor(constant).tolist() == values
    assert weight_bits(constant) == int(kind[1:])
    assert name_weights_(graph, {"layer.weight": ("layer", 1)}) == {"layer.weight": "layer.weight"}
    assert weight_tensor(constants(graph)["layer.weight"]).tolist() == values


def test_groups_with_zero_points_are_counted_from_them() -> None:
    """Four input rows in two groups, two outputs: the weight is [4, 2]."""
    ops = import_openvino().opset13
    constant = codes([[[3, 0], [5, 15]], [[8, 1], [7, 1]]], "u4")
    zeros = codes([[[3, 15]], [[8, 0]]], "u4")
    centered = ops.subtract(ops.convert(constant, "f32"), ops.convert(zeros, "f32"))
    flat = ops.reshape(ops.multiply(centered, np.float32(0.1)), np.array([4, 2]), False)
    graph = product(flat)
    expected = [[0, -15], [2, 0], [0, 1], [-1, 1]]
    assert weight_tensor(constant).tolist() == expected
    assert weight_tensor(constant).dtype == torch.int8
    name_weights_(graph, {"layer.weight": ("layer", 1)})
    assert "layer.weight" in constants(graph)


def test_a_reader_is_the_operator_of_the_same_name() -> None:
    openvino = import_openvino()
    ops = openvino.opset13
    weight = ops.constant(np.ones((2, 2), dtype=np.float32))
    weight.set_friendly_name("b.weight")
    x = ops.parameter([-1, 2], np.float32, name="x")
    first, second = ops.matmul(x, weight, False, False), None
    first.set_friendly_name("b")
    second = ops.matmul(first, weight, False, False)
    second.set_friendly_name("a/WithoutBiases")
    graph = openvino.Model([ops.result(second)], [x])
    names = {"a.weight": "b.weight", "b.weight": "b.weight"}
    readers = weight_readers(graph, names)
    assert readers == {"a.weight": ("a/WithoutBiases", 1), "b.weight": ("b", 1)}
    assert name_weights_(graph, readers) == {"a.weight": "a.weight", "b.weight": "a.weight"}


def test_all_that_compute_with_a_weight_are_found_whatever_form_they_read_it_in() -> None:
    openvino = import_openvino()
    ops = openvino.opset13
    matrix = np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float32)
    x = ops.parameter([-1, 2], np.float32, name="x")
    ids = ops.parameter([-1], np.int64, name="ids")
    forms = {"layer": matrix, "again": matrix, "transposed": np.ascontiguousarray(matrix.T)}
    made = x
    for name, value in {**forms, "other": matrix + 1}.items():
        held = ops.constant(value)
        held.set_friendly_name(f"{name}.weight")
        made = ops.matmul(made, held, False, name == "transposed")
        made.set_friendly_name(name)
    table = ops.gather(ops.constant(matrix), ids, 0)
    graph = openvino.Model([ops.result(made), ops.result(table)], [x, ids])
    names = {"layer.weight": "layer.weight", "other.weight": "other.weight"}
    found = all_readers(graph, names, weight_readers(graph, names))
    assert found == {
        "layer.weight": [("layer", 1), ("again", 1), ("transposed", 1)],
        "other.weight": [("other", 1)],
    }


def test_bfloat16_is_rounded_to_nearest_and_read_back() -> None:
    ops = import_openvino().opset13
    weight = ops.constant(np.array([[1 + 2**-7, 1 + 2**-9], [2.0**100, 0.0]], dtype=np.float32))
    weight.set_friendly_name("layer.weight")
    graph = product(weight)
    store_bfloat16_(graph, {"layer.weight"})
    stored = weight_tensor(constants(graph)["layer.weight"])
    assert stored.dtype == torch.bfloat16
    assert stored.tolist() == [[1 + 2**-7, 1.0], [2.0**100, 0.0]]
    result = (
        import_openvino().Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    )
    assert result(np.array([[1.0, 0.0]], dtype=np.float32))[0].tolist() == [[1 + 2**-7, 1.0]]


def test_telemetry_is_hidden_for_as_long_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, TELEMETRY, raising=False)
    with without_telemetry(), pytest.raises(ImportError):
        __import__(TELEMETRY)
    assert TELEMETRY not in sys.modules
    stand_in: Any = object()
    monkeypatch.setitem(sys.modules, TELEMETRY, stand_in)
    with without_telemetry():
        assert sys.modules[TELEMETRY] is None
    assert sys.modules[TELEMETRY] is stand_in
