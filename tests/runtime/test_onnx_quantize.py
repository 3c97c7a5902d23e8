"""Int8 weights in ONNX graphs are held against the float weights that they were made of."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from compress.runtime.components import onnx_quantize
from compress.runtime.components.onnx_quantize import quantize_dynamically, quantize_statically

SIZES = [1.0, 1e30, 1e-30, 1e-37, 0.0]


def graph_of(weight: Tensor, kind: str) -> onnx.ModelProto:
    """One product with a weight [out, in]: MatMul stores it as [in, out], Gemm as it is."""
    stored = weight if kind == "Gemm" else weight.T
    held = numpy_helper.from_array(stored.contiguous().numpy(), "linear.weight")
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])
        for name, size in (("x", weight.shape[1]), ("logits", weight.shape[0]))
    ]
    attributes = {"transB": 1} if kind == "Gemm" else {}
    node = helper.make_node(kind, ["x", "linear.weight"], ["logits"], "linear", **attributes)
    graph = helper.make_graph([node], "graph", ends[:1], ends[1:], [held])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def quantized(weight: Tensor, kind: str, static: bool) -> onnx.ModelProto:
    from onnxruntime.quantization import CalibrationMethod, TensorData, TensorsData

    graph = graph_of(weight, kind)
    if not static:
        return quantize_dynamically(graph)
    limits = {"lowest": np.float32(-1), "highest": np.float32(1)}
    spans = {name: TensorData(**limits) for name in ("x", "logits")}
    return quantize_statically(graph, TensorsData(CalibrationMethod.MinMax, spans))


def drawn(rows: int, columns: int) -> Tensor:
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))
    return weight * torch.arange(1, rows + 1)[:, None]  # each channel has a scale of its own


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("kind", ["MatMul", "Gemm"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (7, 7), (3, 64), (64, 3)])
def test_weights_of_every_shape_and_size_keep_their_bound(
    shape: tuple[int, int], kind: str, static: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ratios: list[float] = []

    def record(name: str, weight: Tensor, restored: Tensor, bound: Tensor) -> None:
        assert name == "linear"
        assert restored.shape == weight.shape == shape
        check(name, weight, restored, bound)
        ratios.append(float(((restored - weight).abs() / bound).max()))

    check = onnx_quantize.check_rounding
    monkeypatch.setattr(onnx_quantize, "check_rounding", record)
    for size in SIZES:
        quantized(drawn(*shape) * size, kind, static)
    assert len(ratios) == len(SIZES)
    assert min(shape) < 3 or max(ratios) > 0.6, "the bound is no larger than it has to be"


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("kind", ["MatMul", "Gemm"])
def test_weights_that_stand_for_something_else_are_found(
    kind: str, static: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = onnx_quantize._linear_weights
    monkeypatch.setattr(
        onnx_quantize,
        "_linear_weights",
        lambda graph: {name: weight.flip(1) for name, weight in weights(graph).items()},
    )
    with pytest.raises(AssertionError, match=r"^linear: the quantized weights are off by up to"):
        quantized(drawn(7, 7), kind, static)
