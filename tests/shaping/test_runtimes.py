"""Every size in every runtime: the artifact's logits are those of the student in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compress.interfaces import Runtime
from compress.measure.reload import check_reload
from compress.measure.score import predict_all
from compress.measure.sparsity import check_history
from compress.runtime.onnxruntime import OnnxRuntime
from compress.runtime.openvino import OpenVino
from compress.runtime.torch import TorchRuntime
from compress.serve.folder import read_manifest
from compress.store.artifact import load
from compress.transformer.activations import ACTIVATIONS
from tests.configs import settings_of
from tests.pruner.made import Contexts, Teachers
from tests.shaping.made import AXES, largest_difference, noisy, student
from tests.slow import slow_but

RUNTIMES: dict[str, Runtime] = {
    "torch": TorchRuntime(compile=False),
    "onnxruntime": OnnxRuntime(),
    "openvino": OpenVino(specialize=True, activation_group=None),
}
NONE, STATIC = "none", "int8_static embeddings=int8"
# How far a logit may be from the student's in memory; those of bert spread over 1.
FORMATS = {
    NONE: 1e-5,
    "int8_dynamic embeddings=int8": 0.2,
    "int8_dynamic embeddings=int4": 0.5,
    "int8_weight_only embeddings=int8": 0.2,
    "rtn embeddings=int4": 1.0,
    "bf16": 0.1,
    STATIC: 0.2,
}
SUPPORTED = {
    "torch": [name for name in FORMATS if name != STATIC],
    "onnxruntime": [NONE, "int8_dynamic embeddings=int8", STATIC],
    "openvino": [
        *(NONE, "int8_weight_only embeddings=int8", "rtn embeddings=int4", "bf16"),
        STATIC,
    ],
}
CASES = [
    *((axis, runtime, NONE) for runtime in ("onnxruntime", "openvino") for axis in AXES),
    *(("all", runtime, name) for runtime, names in SUPPORTED.items() for name in names),
]
CASES = list(dict.fromkeys(CASES))
QUICK = [
    ("all", "torch", NONE),
    ("all", "torch", "int8_dynamic embeddings=int4"),
    ("all", "onnxruntime", NONE),
    ("all", "openvino", STATIC),
]


def exported(
    runtime: str, format_: str, sizes: dict[str, Any], teacher: Any, ctx: Any, folder: Path
) -> tuple[float, Any, Any]:
    """The largest difference of two logits, the student, and what was read back."""
    small = student(**sizes).distill(ctx)
    name, *overrides = format_.split()
    quantizer: Any = settings_of("quantizer", name, *(f"quantizer.{each}" for each in overrides))
    result = RUNTIMES[runtime].export(small, quantizer, folder, ctx)
    reloaded = load(folder, threads=1)
    check_reload(result, reloaded, ctx.data.calibration)
    check_history(read_manifest(folder).history, reloaded.weights())
    exact = TorchRuntime(compile=False).export(
        small,
        settings_of("quantizer", NONE),
        folder.with_name("float"),
        ctx,  # type: ignore[arg-type]
    )
    rows = ctx.data.validation
    pair = [predict_all(each, rows, 4) for each in (reloaded, exact.reference)]
    return largest_difference(*pair), small, reloaded


@pytest.mark.parametrize(("axis", "runtime", "format_"), slow_but(QUICK, CASES))
def test_an_artifact_says_what_the_student_says(
    axis: str, runtime: str, format_: str, teachers: Teachers, context: Contexts, tmp_path: Path
) -> None:
    pytest.importorskip(runtime)
    teacher = noisy(teachers("bert"))
    ctx, folder = context(teacher), tmp_path / "model"
    error, small, reloaded = exported(runtime, format_, AXES[axis], teacher, ctx, folder)
    assert error < FORMATS[format_]
    assert len(reloaded.tokenizer) == len(small.tokenizer)
    found = {name: weight for name, weight in reloaded.weights() if "word_embeddings" in name}
    inner = axis in ("embedding", "all")
    table = "word_embeddings.table.weight" if inner else "word_embeddings.weight"
    [codes] = [weight for name, weight in found.items() if name.endswith(table)]
    assert codes.is_floating_point() != ("embeddings=" in format_)
    assert len(found) == (2 if inner else 1), "and the projection"


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_is_exported(
    activation: str, runtime: str, teachers: Teachers, context: Contexts, tmp_path: Path
) -> None:
    pytest.importorskip(runtime)
    teacher = noisy(teachers("bert"))
    sizes, ctx = {"activation": activation}, context(teacher)
    error, small, _ = exported(runtime, NONE, sizes, teacher, ctx, tmp_path / "model")
    assert error < 1e-5
    assert small.module.config.hidden_act == activation


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("architecture", ["roberta", "distilbert", "electra", "gpt2"])
def test_other_architectures_are_exported(
    architecture: str, runtime: str, teachers: Teachers, context: Contexts, tmp_path: Path
) -> None:
    pytest.importorskip(runtime)
    teacher = noisy(teachers(architecture))
    ctx, folder = context(teacher), tmp_path / "model"
    error, *_ = exported(runtime, NONE, AXES["all"], teacher, ctx, folder)
    assert error < 1e-5
