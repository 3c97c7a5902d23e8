from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from compress.build import build_run
from compress.config.errors import ConfigError, UserError
from compress.interfaces import CompressedModel, StageContext
from compress.runtime.components.onnx_formats import Int8StaticFormat, OnnxSource
from compress.runtime.components.onnx_quantize import calibrate, quantize_statically
from tests.configs import compose_config, settings_of
from tests.tiny import make_split

WEIGHT = [[1.27, 0.0], [-0.635, 0.0], [0.0, -2.54]]


def linear_graph() -> onnx.ModelProto:
    """One product, [batch, 3] by [3, 2]."""
    weight = numpy_helper.from_array(np.array(WEIGHT, dtype=np.float32), "linear.weight")
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])
        for name, size in (("x", 3), ("logits", 2))
    ]
    node = helper.make_node("MatMul", ["x", "linear.weight"], ["logits"], "linear")
    graph = helper.make_graph([node], "graph", ends[:1], ends[1:], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_by_hand() -> None:
    """Weights per output channel, symmetric; activations per tensor, 0 to 255, asymmetric."""
    from onnxruntime.quantization import CalibrationMethod, TensorData, TensorsData

    limits = {"lowest": np.float32(-1), "highest": np.float32(1.55)}
    spans = {name: TensorData(**limits) for name in ("x", "logits")}
    made = quantize_statically(linear_graph(), TensorsData(CalibrationMethod.MinMax, spans))
    held = {each.name: numpy_helper.to_array(each) for each in made.graph.initializer}
    assert held["linear.weight_quantized"].tolist() == [[127, 0], [-64, 0], [0, -127]]
    assert held["linear.weight_scale"].tolist() == pytest.approx([0.01, 0.02])
    assert held["linear.weight_zero_point"].tolist() == [0, 0]
    # 255 steps from -1 to 1.55, of 0.01 each; zero is the hundredth.
    assert float(held["x_scale"]) == pytest.approx(0.01)
    assert int(held["x_zero_point"]) == 100
    assert [node.op_type for node in made.graph.node].count("QuantizeLinear") == 1


@pytest.mark.parametrize("setting", ["calibration=max", "percentile=50", "percentile=100.5"])
def test_wrong_values_are_refused(setting: str) -> None:
    with pytest.raises(Exception, match=r"quantizer\.(calibration|percentile) must be"):
        settings_of("quantizer", "int8_static", f"quantizer.{setting}")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("smooth_quant=1.5", r"smooth_quant must be in \(0, 1\), got 1.5"),
        ("smooth_quant=often", r"must be auto, none or a number in \(0, 1\); got often"),
        ("bias_correction=often", "bias_correction must be auto or true or false; got often"),
        ("bias_correction=1", "bias_correction must be auto or true or false; got 1"),
        ("accuracy_drop=1", r"accuracy_drop must be in \[0, 1\) or null, got 1"),
        ("accuracy_drop=0.1 smooth_quant=0.5", "must be auto or none with accuracy_drop, got 0.5"),
        ("embeddings=nf4", "embeddings must be one of none, int8, int4; got nf4"),
    ],
)
def test_wrong_options_are_refused(setting: str, message: str) -> None:
    settings = [f"quantizer.{each}" for each in setting.split()]
    cfg = compose_config("teacher=tiny_random", "quantizer=int8_static", *settings)
    with pytest.raises(UserError, match=message):
        build_run(cfg)


@pytest.mark.parametrize("setting", ["smooth_quant=0.5", "bias_correction=true", "accuracy_drop=0"])
def test_what_onnx_runtime_lacks_is_refused_there(setting: str) -> None:
    choices = ("quantizer=int8_static", "device=cpu_onnxruntime", "teacher=tiny_random")
    with pytest.raises(
        ConfigError, match="is not supported by the onnxruntime runtime; supported:"
    ):
        build_run(compose_config(*choices, f"quantizer.{setting}"))


def test_calibration_on_no_rows_is_refused(
    teacher: CompressedModel, context: Callable[[CompressedModel], StageContext]
) -> None:
    ctx = context(teacher)
    ctx = replace(ctx, data=replace(ctx.data, calibration=make_split(0)))
    quantizer: Any = settings_of("quantizer", "int8_static")
    with pytest.raises(UserError, match=r"needs calibration rows, got 0; raise task\.calibration"):
        Int8StaticFormat(quantizer).convert(linear_graph(), OnnxSource(teacher, {}), ctx)


def test_calibration_sees_every_row_and_prints_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = [[0.0, 1.0, 2.0], [-3.0, 0.5, 0.25], [0.0, 0.0, 7.0]]
    batches = [{"x": torch.tensor([row])} for row in rows]
    monkeypatch.setattr(
        "compress.runtime.components.onnx_quantize.calibration_rows", lambda *_: iter(batches)
    )
    model: CompressedModel = CompressedModel(torch.nn.Module(), None, ())  # type: ignore[arg-type]
    for method in ("minmax", "percentile"):
        found = calibrate(linear_graph(), model, make_split(3), method, 100.0)["x"]
        assert [each.item() for each in found.range_value] == pytest.approx([-3, 7])
    cut = calibrate(linear_graph(), model, make_split(3), "percentile", 60.0)["x"].range_value
    assert -3 < cut[0] < cut[1] < 7
    assert capsys.readouterr().out == ""


def test_accuracy_is_held_only_where_the_task_has_one(tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text("text,label\n" + "".join(f"a text {i},{i}.5\n" for i in range(20)))
    words = ("teacher=tiny_random", "task=csv", f"task.path={table}", "task.problem=regression")
    choices = ("device=cpu_openvino", "quantizer=int8_static", "quantizer.accuracy_drop=0.01")
    with pytest.raises(UserError, match="needs rows of one class each, the task's scores are"):
        build_run(compose_config(*words, *choices))
