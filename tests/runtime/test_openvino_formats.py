"""Numeric formats in OpenVINO."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from compress.build import build_run
from compress.config.errors import UserError
from compress.interfaces import CompressedModel, Quantizer, StageContext, TrainingData
from compress.measure.score import predict_all
from compress.measure.sparsity import check_history, count_weights
from compress.runtime.openvino import OpenVino
from compress.serve.folder import read_manifest
from compress.serve.openvino import linear_types
from compress.transformer.torch_model import TorchModel
from tests.architectures import lively_
from tests.configs import compose_config, settings_of
from tests.runtime.openvino_models import (
    Contexts,
    Teachers,
    quantizer_of,
    same,
    with_noise,
    write,
)
from tests.slow import slow
from tests.tiny import make_split

pytest.importorskip("openvino")
pytestmark = pytest.mark.usefixtures("export_once")


def capabilities() -> list[str]:
    from compress.serve.openvino import import_openvino

    found: list[str] = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return found


class OldCore:
    """What OpenVINO says on a CPU without bfloat16 arithmetic."""

    def get_property(self, device: str, name: str) -> list[str]:
        assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
        return ["FP32", "INT8"]


def pruned(model: CompressedModel, ctx: StageContext, *choices: str) -> CompressedModel:
    for choice in choices:
        name, *overrides = choice.split()
        pruner: Any = settings_of("pruner", name, *(f"pruner.{each}" for each in overrides))
        model = pruner.prune(model, ctx)
    return model


@pytest.mark.parametrize("name", ["int8_static", *slow(["none", "int8_weight_only", "rtn"])])
def test_uneven_heads_factors_and_a_smaller_vocabulary_go_through(
    name: str, biased: CompressedModel, context: Contexts, tmp_path: Path
) -> None:
    ctx = context(biased)
    steps = ("heads allocation=global sparsity=0.25", "lowrank scope=ffn", "vocabulary")
    model = pruned(biased, ctx, *steps)
    shapes = {tuple(p.shape) for n, p in model.module.named_parameters() if "query.weight" in n}
    assert len(shapes) > 1
    assert any(".down." in n for n, _ in model.module.named_parameters())
    found, error = write(model, quantizer_of(name), ctx, tmp_path)
    assert error < {"none": 1e-5, "int8_static": 0.1}.get(name, 0.05)
    check_history(read_manifest(tmp_path).history, found.weights())


@pytest.mark.parametrize(
    "quantizer",
    [
        quantizer_of("int8_static", "embeddings=int8"),
        quantizer_of("rtn", "symmetric=false", "group_size=8"),
        *slow([quantizer_of("none"), quantizer_of("int8_weight_only", "embeddings=int4")]),
    ],
    ids=lambda quantizer: type(quantizer).__name__,
)
def test_zeros_that_were_expected_are_found_again(
    quantizer: Quantizer, biased: CompressedModel, context: Contexts, tmp_path: Path
) -> None:
    ctx = context(biased)
    model = pruned(biased, ctx, "magnitude sparsity=0.5")
    found, _ = write(model, quantizer, ctx, tmp_path)
    check_history(read_manifest(tmp_path).history, found.weights())
    names = set(model.history[-1].expected_zeros)
    counts = [
        count_weights(weights, names)
        for weights in (model.module.named_parameters(), found.weights())
    ]
    assert counts[0].total == counts[1].total
    assert counts[0].compressible == counts[1].compressible
    assert counts[0].compressible_zeros <= counts[1].compressible_zeros


def test_layers_go_back_to_float_until_the_drop_is_met(
    shallow: Teachers,
    context: Contexts,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    # NNCF quantizes and tries every layer by itself.
    model = with_noise(shallow("bert"))

    def hits(labels: Sequence[int]) -> Any:
        assert list(labels) == context(model).data.validation.labels.tolist()

        def validate(compiled: Any, rows: Any) -> tuple[float, list[float]]:
            # All rows are right as soon as one Linear computes in float32.
            right = float("f32" in linear_types(compiled))
            return right, [right for _ in rows]

        return validate

    monkeypatch.setattr("compress.runtime.components.openvino_compression._hits", hits)
    quantizer = quantizer_of("int8_static", "accuracy_drop=0.01")
    # With SmoothQuant the weights that NNCF gives back lack its factors, and export says so.
    found, error = write(model, quantizer, context(model), tmp_path)
    kinds = read_manifest(tmp_path).history[-1].notes["linear_weights"]
    assert 0 < kinds["f32"] < kinds["i8"]
    assert error < 0.1
    assert found.precision == "int8"
    assert capfd.readouterr().out == ""


def test_calibration_needs_rows(
    biased: CompressedModel, context: Contexts, data: TrainingData, tmp_path: Path
) -> None:
    ctx = context(biased)
    ctx = replace(ctx, data=replace(data, calibration=make_split(0, "none")))
    with pytest.raises(UserError, match="needs calibration rows"):
        OpenVino(specialize=True, activation_group=None).export(
            biased, quantizer_of("int8_static"), tmp_path / "model", ctx
        )


def test_bf16_computes_and_is_stored_in_bfloat16(
    biased: CompressedModel, context: Contexts, tmp_path: Path
) -> None:
    bf16 = quantizer_of("bf16")
    if "BF16" not in capabilities():
        pytest.skip("this CPU has no bfloat16 arithmetic")
    model, error = write(biased, bf16, context(biased), tmp_path)
    assert model.precision == "bfloat16"
    assert 1e-5 < error < 0.05
    expected = {n: p.detach().bfloat16() for n, p in biased.module.named_parameters()}
    assert all(same(found, expected[name]) for name, found in model.weights())
    bytes_of_weights = 2 * sum(weight.numel() for weight in expected.values())
    assert (
        bytes_of_weights
        < (tmp_path / "openvino_model.bin").stat().st_size
        < bytes_of_weights + 9_000
    )


def test_bf16_is_refused_where_the_cpu_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    import openvino

    monkeypatch.setattr(openvino, "Core", OldCore)
    words = ("teacher=tiny_random", "device=cpu_openvino", "quantizer=bf16")
    with pytest.raises(UserError, match=r"bf16 needs a CPU with bfloat16 arithmetic"):
        build_run(compose_config(*words))


@pytest.mark.parametrize("name", ["rtn", *slow(["int8_weight_only"])])
def test_rounded_weights_are_held_against_torch_with_the_same_weights(
    name: str, shallow: Teachers, context: Contexts, tmp_path: Path
) -> None:
    model = shallow("llama")
    # Weights so large that rounding them takes the logits of other rows' classes.
    lively_(model.module, 0)
    ctx = context(model)
    found, error = write(model, quantizer_of(name), ctx, tmp_path)
    assert error < 1e-4
    plain = TorchModel(model.module, model.tokenizer, "cpu")
    pair = [predict_all(each, ctx.data.validation, 4) for each in (plain, found)]
    assert (pair[0] - pair[1]).abs().max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["int8_static", *slow(["none", "int8_weight_only", "rtn"])])
def test_a_layer_that_is_never_run_is_left_out(
    name: str, biased: CompressedModel, context: Contexts, tmp_path: Path
) -> None:
    biased.module.spare = nn.Linear(3, 5)
    found, _ = write(biased, quantizer_of(name), context(biased), tmp_path)
    assert not any("spare" in weight for weight, _ in found.weights())


NARROW = ("teacher.hidden=97", "teacher.heads=1")


@pytest.mark.parametrize(
    ("name", "overrides", "words"),
    [
        ("int8_dynamic", (), "is not supported by the openvino runtime"),
        ("fp16", (), "is not supported by the openvino runtime"),
        ("nf4", (), "is not supported by the openvino runtime"),
        ("qat_int8", (), "is not supported by the openvino runtime"),
        (
            "int8_static",
            ("quantizer.calibration=entropy",),
            "entropy is not supported by the openvino runtime; supported: minmax",
        ),
        ("rtn", NARROW, "has 97 columns, quantizer.group_size=64"),
        ("int8_weight_only", (*NARROW, "quantizer.embeddings=int4"), "has 97 columns"),
    ],
)
def test_what_openvino_does_not_have_is_refused_before_work(
    name: str, overrides: tuple[str, ...], words: str
) -> None:
    cfg = compose_config(
        "teacher=tiny_random", "device=cpu_openvino", f"quantizer={name}", *overrides
    )
    with pytest.raises(UserError, match=words):
        build_run(cfg)
