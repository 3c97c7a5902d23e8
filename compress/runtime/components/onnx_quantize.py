"""Int8 quantization of Linear layers in ONNX graphs, with one scale per output channel.

Only products with a weight are quantized. Quantizing all that ONNX Runtime can, softmax and
LayerNorm among it, gave chance accuracy on a fine-tuned MiniLM-L6; products of two activations,
attention's, stay float32 as they do in torch's int8.

Weights use 255 codes. ONNX Runtime's `reduce_range` would halve them in every artifact for the
sake of processors without VNNI, wherever it is run; instead the session takes slower, exact kernels
on such a processor, see `compress.runtime.onnxruntime`.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from compress.config.errors import UserError
from compress.runtime.components.onnx_export import initializers, quiet
from compress.serve.onnxruntime import empty_past
from compress.serve.session import PAST
from compress.system.files import scratch_folder
from compress.transformer.calibration import calibration_rows
from compress.transformer.packing import (
    INT8_MAX,
    SMALLEST_SCALE,
    channel_bound,
)
from compress.transformer.rounding import check_rounding

if TYPE_CHECKING:
    import onnx
    from onnxruntime.quantization import TensorsData

    from compress.interfaces import CompressedModel, Split

OPERATORS = ["MatMul", "Gemm"]
# What onnxruntime.quantization calls the codes of a tensor, their scales and their zero points.
CODES, SCALES, ZERO_POINTS = "_quantized", "_scale", "_zero_point"
# Of Migacz, "8-bit Inference with TensorRT", GTC 2017, whose algorithm `entropy` is.
ENTROPY_BINS, ENTROPY_CODES = 512, 128
CALIBRATIONS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}


def quantize_dynamically(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with int8 Linear layers whose inputs are quantized dynamically."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    weights = _linear_weights(graph)
    with quiet(), scratch_folder() as folder:
        path = folder / "model.onnx"
        quantize_dynamic(
            graph,
            path,
            op_types_to_quantize=OPERATORS,
            per_channel=True,
            weight_type=QuantType.QInt8,
        )
        made: onnx.ModelProto = onnx.load(str(path))
    _check_linears(weights, made)
    return made


def quantize_statically(graph: onnx.ModelProto, ranges: TensorsData) -> onnx.ModelProto:
    """The graph with int8 Linear layers and static input ranges.

    Inputs are asymmetric and of 8 bits, one scale per tensor; products stay float32, so that no
    range of theirs need be known.

    Args:
        graph: with float weights.
        ranges: from `calibrate`.
    """
    import onnx
    from onnxruntime.quantization import QDQQuantizer, QuantType

    weights = _linear_weights(graph)
    linears = [node.name for node in graph.graph.node if _is_linear(node, weights)]
    options = {"OpTypesToExcludeOutputQuantization": OPERATORS, "QuantizeBias": False}
    types = QuantType.QInt8, QuantType.QUInt8
    with quiet():
        typed = onnx.shape_inference.infer_shapes(graph)
        quantizer = QDQQuantizer(
            typed, True, False, *types, ranges, linears, [], OPERATORS, options
        )
        quantizer.quantize_model()
    made: onnx.ModelProto = quantizer.model.model
    _check_linears(weights, made)
    return made


def calibrate(
    graph: onnx.ModelProto, model: CompressedModel, rows: Split, method: str, percentile: float
) -> TensorsData:
    """Calibrates the range of every input and output of a MatMul.

    Each row runs alone, so that padding never enters a range, and is forgotten before the next.

    Args:
        graph: of the float model.
        model: whose tokenizer encodes the rows.
        rows: labels are not looked at.
        method: one of `CALIBRATIONS`. minmax: all that was seen. percentile: the middle share of
            it. entropy: the cut with the least Kullback-Leibler divergence.
        percentile: of 100, for that method alone.

    Raises:
        UserError: there are no rows.
    """
    from onnxruntime.quantization import CalibrationMethod, create_calibrator

    if not len(rows):
        raise UserError("int8_static needs calibration rows, got 0; raise task.calibration_samples")
    options: dict[str, dict[str, Any]] = {
        "minmax": {},
        "entropy": {"num_bins": ENTROPY_BINS, "num_quantized_bins": ENTROPY_CODES},
        "percentile": {"percentile": percentile, "symmetric": False},
    }
    with quiet(), scratch_folder() as folder:
        path = folder / "model.onnx"
        path.write_bytes(graph.SerializeToString())
        calibrator = create_calibrator(
            path,
            OPERATORS,
            str(folder / "watched.onnx"),
            CalibrationMethod[CALIBRATIONS[method]],
            extra_options=options[method],
        )
        past = empty_past(_past_shapes(graph), 1)
        for row in calibration_rows(model.module, model.tokenizer, rows):
            inputs = {name: value.cpu().numpy() for name, value in row.items()} | past
            calibrator.collect_data(_OneRow(inputs))
        return calibrator.compute_data()


def _past_shapes(graph: onnx.ModelProto) -> dict[str, list[int]]:
    """Shapes of a graph's inputs for keys and values; 0 where they are open."""
    return {
        each.name: [size.dim_value for size in each.type.tensor_type.shape.dim]
        for each in graph.graph.input
        if each.name.startswith(PAST)
    }


def _is_linear(node: onnx.NodeProto, weights: Container[str]) -> bool:
    return node.op_type in OPERATORS and node.input[1] in weights


def _linear_weights(graph: onnx.ModelProto) -> dict[str, Tensor]:
    """The weight of every Linear by initializer name, as [out, in]."""
    held = dict(initializers(graph))
    found = {}
    for node in graph.graph.node:
        if _is_linear(node, held):
            weight = torch.from_numpy(held[node.input[1]].copy())
            as_stored = any(each.name == "transB" and each.i for each in node.attribute)
            found[node.input[1]] = weight if as_stored else weight.T
    return found


def _check_linears(weights: Mapping[str, Tensor], made: onnx.ModelProto) -> None:
    """Checks the codes in a graph against the float weights; see `check_rounding`.

    Args:
        weights: from `_linear_weights`, before the format.
        made: the graph in its format. An integer product reads [in, out]; where a node makes codes
            float, that one says which axis the channels are.
    """
    held = dict(initializers(made))
    axes = {
        node.input[0]: next((each.i for each in node.attribute if each.name == "axis"), 1)
        for node in made.graph.node
        if node.op_type == "DequantizeLinear"
    }
    for name, weight in weights.items():
        codes = torch.from_numpy(held[f"{name}{CODES}"].astype(np.float32))
        codes = codes if axes.get(f"{name}{CODES}", 1) == 0 else codes.T
        scale, zero = (
            torch.from_numpy(np.atleast_1d(held[f"{name}{part}"]).astype(np.float32))
            for part in (SCALES, ZERO_POINTS)
        )
        restored = (codes - zero[:, None]) * scale[:, None]
        # A scale that would be below the smallest normal number is 1 there.
        bound = channel_bound(weight) + INT8_MAX * SMALLEST_SCALE
        check_rounding(name.removesuffix(".weight"), weight, restored, bound)


class _OneRow:
    """Calibration data reader of a single row."""

    def __init__(self, inputs: dict[str, np.ndarray[Any, Any]]) -> None:
        self._left = [inputs]

    def get_next(self) -> dict[str, np.ndarray[Any, Any]] | None:
        return self._left.pop() if self._left else None
