"""Codes in groups in the graphs of other runtimes: those of torch, and its logits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AlbertConfig, AlbertForSequenceClassification

from compress.config.errors import UserError
from compress.interfaces import CompressedModel, Device, Runtime
from compress.measure.reload import check_reload
from compress.measure.score import predict_all
from compress.runtime.components.grouped import check_groups
from compress.runtime.onnxruntime import OnnxRuntime
from compress.runtime.openvino import OpenVino
from compress.store.artifact import load
from tests.configs import settings_of
from tests.runtime.openvino_models import Contexts, Teachers, quantizer_of, with_noise
from tests.slow import slow_but
from tests.tiny import torch_export

pytest.importorskip("openvino")
pytestmark = pytest.mark.usefixtures("export_once")

RUNTIMES: dict[str, Runtime] = {
    "openvino": OpenVino(specialize=True, activation_group=None),
    "onnxruntime": OnnxRuntime(),
}
FORMATS = [
    "rtn", "rtn symmetric=true", "rtn bits=8", "rtn bits=8 symmetric=true group_size=32",
    "rtn embeddings=int8", "rtn symmetric=true embeddings=int4",
    "gptq output_bits=8", "gptq symmetric=true bits=8", "awq", "awq bits=8 embeddings=int8", "hqq",
    "hqq embeddings=int4",
]  # fmt: skip
CASES = [(runtime, name) for runtime in RUNTIMES for name in FORMATS]
QUICK = [("openvino", "awq bits=8 embeddings=int8"), ("onnxruntime", "awq"), ("onnxruntime", "hqq")]


@pytest.mark.parametrize(("runtime", "name"), slow_but(QUICK, [*CASES, ("openvino", "hqq bits=8")]))
def test_codes_and_logits_are_those_of_torch(
    runtime: str, name: str, biased: CompressedModel, context: Contexts, tmp_path: Path
) -> None:
    choice, *overrides = name.split()
    quantizer = quantizer_of(choice, "group_size=16", *overrides)
    ctx = context(biased)
    model = quantizer.prepare(biased, ctx)
    exported = RUNTIMES[runtime].export(model, quantizer, tmp_path / "graph", ctx)
    torch_export(model, quantizer, tmp_path / "torch")
    found, expected = load(tmp_path / "graph"), load(tmp_path / "torch")
    check_reload(exported, found, ctx.data.calibration)
    logits, wanted = (predict_all(each, ctx.data.validation, 4) for each in (found, expected))
    # NNCF has other codes for int8 tables.
    near = 0.01 if runtime == "openvino" and "embeddings=int8" in overrides else 1e-5
    assert (logits - wanted).abs().max() < near
    codes, wanted_codes = dict(found.weights()), dict(expected.weights())
    names = [n for n, weight in wanted_codes.items() if "encoder" in n and weight.dim() == 2]
    assert names
    for each in names:
        assert torch.equal(codes[each].int(), wanted_codes[each].int())
        assert found.packed_bits().get(each) == expected.packed_bits().get(each)


def test_rows_that_groups_do_not_divide(
    shallow: Teachers, context: Contexts, tmp_path: Path
) -> None:
    """ONNX Runtime pads the last group, OpenVINO has smaller ones where codes are not chosen."""
    model = with_noise(shallow("bert"))
    ctx = context(model)
    pruned = settings_of("pruner", "neurons", "pruner.sparsity=0.3").prune(model, ctx)  # type: ignore[attr-defined]
    width = pruned.module.get_parameter("bert.encoder.layer.0.output.dense.weight").shape[1]
    assert width % 16
    rtn = quantizer_of("rtn", "group_size=16")
    for name, runtime in RUNTIMES.items():
        exported = runtime.export(pruned, rtn, tmp_path / name, ctx)
        check_reload(exported, load(tmp_path / name), ctx.data.calibration)
    with pytest.raises(UserError, match=rf"dense has {width} columns, got quantizer.group_size=16"):
        RUNTIMES["openvino"].check_model(pruned.module, quantizer_of("gptq", "group_size=16"))


def test_what_would_divide_is_named() -> None:
    layers = {"down": nn.Linear(1500, 4), "even": nn.Linear(64, 4), "short": nn.Linear(7, 4)}
    check_groups({name: layers[name] for name in ("even", "short")}, 64, "openvino")
    message = "down has 1500 columns, got quantizer.group_size=64; of 16 to 256, 20, 25, 30, 50, "
    with pytest.raises(UserError, match=message):
        check_groups(layers, 64, "openvino")


@pytest.mark.parametrize(
    ("runtime", "name", "message"),
    [
        ("openvino", "gptq bits=3", "quantizer.bits=3 is not supported .* supported: 4, 8, and by"),
        ("openvino", "rtn output_bits=2", "quantizer.output_bits=2 is not supported .* 4, 8, and"),
        ("onnxruntime", "rtn bits=2", "quantizer.bits=2 is not supported .* supported: 4, 8, and"),
        ("onnxruntime", "hqq bits=8", "quantizer.bits=8 is not supported .* supported: 4, and by"),
        (
            "onnxruntime",
            "awq group_size=48",
            "group_size=48 is not supported .* powers of 2 from 16",
        ),
        ("onnxruntime", "awq group_size=8", "group_size=8 is not supported .* powers of 2 from 16"),
    ],
)
def test_what_has_no_kernels_is_refused(runtime: str, name: str, message: str) -> None:
    choice, *overrides = name.split()
    device = settings_of("device", f"cpu_{runtime}")
    assert isinstance(device, Device)
    with pytest.raises(UserError, match=message):
        RUNTIMES[runtime].check(quantizer_of(choice, *overrides), device)


def test_columns_of_a_weight_that_several_layers_share(
    biased: CompressedModel, context: Contexts, tmp_path: Path
) -> None:
    """ALBERT's layers run several times: each run divides what it reads."""
    config = AlbertConfig(
        vocab_size=biased.module.config.vocab_size, embedding_size=8, hidden_size=32,
        num_attention_heads=2, intermediate_size=48, num_hidden_layers=3, pad_token_id=0,
    )  # fmt: skip
    model = with_noise(replace(biased, module=AlbertForSequenceClassification(config).eval()))
    ctx, awq = context(model), quantizer_of("awq", "group_size=16")
    prepared = awq.prepare(model, ctx)
    for name, runtime in RUNTIMES.items():
        exported = runtime.export(prepared, awq, tmp_path / name, ctx)
        check_reload(exported, load(tmp_path / name), ctx.data.calibration)
