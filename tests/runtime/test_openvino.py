"""OpenVINO: what it gives, what it holds, and what it refuses."""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from compress.artifact import MANIFEST, load, read_manifest, read_spec
from compress.build import build_run
from compress.device.cpu import Cpu
from compress.interfaces import (
    CompressedModel,
    Quantizer,
    Runnable,
    Split,
    StageContext,
    TrainingData,
)
from compress.measure.run import check_reload
from compress.measure.score import predict_all
from compress.measure.sparsity import check_claims, count_weights
from compress.onnx_export import export_graph
from compress.quantizer.none import NoQuantizer
from compress.runtime.openvino import OpenVino, OpenVinoModel, linear_types
from compress.settings import UserError
from tests.conftest import ROOT, compose_config, make_split, settings_of

Teachers = Callable[[str], CompressedModel]
Contexts = Callable[[CompressedModel], StageContext]

pytest.importorskip("openvino")


def quantizer_of(name: str, *overrides: str) -> Quantizer:
    made = settings_of("quantizer", name, *(f"quantizer.{each}" for each in overrides))
    assert isinstance(made, Quantizer)
    return made


def write(
    model: CompressedModel, quantizer: Quantizer, ctx: StageContext, folder: Path
) -> tuple[Runnable, float]:
    """Exports, and checks the way that a run does; what came back, and its largest error."""
    exported = OpenVino(specialize=True).export(model, quantizer, folder, ctx)
    reloaded = load(folder, threads=1)
    check_reload(exported, reloaded, ctx.data.calibration)
    pair = [predict_all(each, ctx.data.validation, 4) for each in (exported.reference, reloaded)]
    return reloaded, float((pair[0] - pair[1]).abs().max())


def same(found: Tensor, weight: Tensor) -> bool:
    """Whether two weights are equal, transposed or not."""
    forms = (weight, weight.mT) if weight.dim() > 1 else (weight,)
    return any(found.shape == form.shape and torch.equal(found, form) for form in forms)


@pytest.fixture(scope="module")
def graphs() -> dict[str, Any]:
    """Graphs that were exported before, by their weights: most of a test's time goes there."""
    return {}


@pytest.fixture(autouse=True)
def _export_once(graphs: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def export(module: PreTrainedModel, tokenizer: Any, rows: Split) -> Any:
        state = hashlib.sha256()
        for name, tensor in module.state_dict().items():
            state.update(name.encode() + bytes(tensor.contiguous().numpy().data))
        key = state.hexdigest()
        if key not in graphs:
            graphs[key] = export_graph(module, tokenizer, rows)
        return graphs[key]

    monkeypatch.setattr("compress.runtime.openvino.export_graph", export)


@pytest.fixture
def biased(teachers: Teachers) -> CompressedModel:
    """A tiny BERT no two parameters of which are equal, as in a trained one."""
    teacher = teachers("bert")
    module = copy.deepcopy(teacher.module)
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=noise)
    return replace(teacher, module=module)


def test_float32_is_float32_all_the_way(
    biased: CompressedModel, context: Contexts, tmp_path: Path
) -> None:
    model, error = write(biased, NoQuantizer(), context(biased), tmp_path)
    assert error < 1e-5  # bfloat16, OpenVINO's default on many CPUs, is off by 1e-3
    assert model.precision == "float32"
    found = dict(model.weights())
    expected = dict(biased.module.named_parameters())
    assert found.keys() == expected.keys()
    assert all(same(found[name], weight) for name, weight in expected.items())
    assert model.packed_bits() == {}
    bytes_of_weights = 4 * sum(weight.numel() for weight in expected.values())
    assert bytes_of_weights < sum(t.numel() for t in model.tensors()) < bytes_of_weights + 10_000


def test_a_folder_holds_what_openvino_needs_and_nothing_else(
    teacher: CompressedModel, context: Contexts, tmp_path: Path
) -> None:
    write(teacher, NoQuantizer(), context(teacher), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        "manifest.json",
        "model.bin",
        "model.xml",
        "runtime.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    options = {"precision": "f32", "positions": 512, "specialize": True}
    assert read_spec(tmp_path).options == options
    assert str(ROOT) not in (tmp_path / "model.xml").read_text()


def test_batch_and_length_are_open_up_to_the_positions(
    biased: CompressedModel, context: Contexts, tmp_path: Path
) -> None:
    model, _ = write(biased, NoQuantizer(), context(biased), tmp_path)
    for count, length in ((1, 1), (5, 2), (2, 512)):
        ids = torch.randint(5, 50, (count, length), generator=torch.Generator().manual_seed(1))
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        batch["token_type_ids"] = torch.zeros_like(ids)
        batch["attention_mask"][0, length // 2 + 1 :] = 0
        with torch.inference_mode():
            expected = biased.module(**batch).logits
        assert torch.allclose(model.predict(batch), expected, atol=1e-5)
    long = {name: torch.ones(1, 513, dtype=torch.long) for name in batch}
    with pytest.raises(UserError, match="513 tokens long, the model takes at most 512"):
        model.predict(long)


@pytest.mark.parametrize("architecture", ["roberta", "gpt2", "vit"])
def test_other_architectures(
    architecture: str, teachers: Teachers, context: Contexts, tmp_path: Path
) -> None:
    teacher = teachers(architecture)
    model, error = write(teacher, NoQuantizer(), context(teacher), tmp_path)
    assert error < 1e-5
    names = {f"{name}.weight" for name, _ in teacher.module.named_modules()}
    wanted = {n for n, p in teacher.module.named_parameters() if n in names and p.dim() > 1}
    assert wanted <= {name for name, _ in model.weights()}


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
    assert bytes_of_weights < (tmp_path / "model.bin").stat().st_size < bytes_of_weights + 9_000


def capabilities() -> list[str]:
    from compress.openvino_graph import import_openvino

    found: list[str] = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return found


class OldCore:
    """What OpenVINO says on a CPU without bfloat16 arithmetic."""

    def get_property(self, device: str, name: str) -> list[str]:
        assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
        return ["FP32", "INT8"]


def test_bf16_is_refused_where_the_cpu_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    import openvino

    monkeypatch.setattr(openvino, "Core", OldCore)
    cfg = compose_config("teacher=tiny_random", "device=cpu_openvino", "quantizer=bf16")
    with pytest.raises(UserError, match="bf16 needs a CPU with bfloat16 arithmetic"):
        build_run(cfg)


@pytest.mark.parametrize("name", ["int8_dynamic", "fp16", "nf4", "qat_int8"])
def test_formats_that_openvino_does_not_have_are_refused(name: str) -> None:
    cfg = compose_config("teacher=tiny_random", "device=cpu_openvino", f"quantizer={name}")
    with pytest.raises(UserError, match="cannot be had in the openvino runtime"):
        build_run(cfg)


@pytest.mark.parametrize("package", ["openvino", "nncf", "onnx", "onnxscript"])
def test_a_missing_package_is_refused(
    package: str, monkeypatch: pytest.MonkeyPatch, device: Cpu
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == package else find(name)
    )
    wanted = rf"needs the package {package}; pip install 'compress\[openvino\]'"
    with pytest.raises(UserError, match=wanted):
        OpenVino(specialize=True).check(NoQuantizer(), device)


def test_an_artifact_is_loaded_with_openvino_alone(
    teacher: CompressedModel,
    context: Contexts,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    write(teacher, NoQuantizer(), context(teacher), tmp_path)
    find = importlib.util.find_spec
    missing = {"nncf", "onnx", "onnxscript"}
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name in missing else find(name)
    )
    load(tmp_path)
    missing.add("openvino")
    with pytest.raises(UserError, match=r"needs the package openvino; pip install 'compress"):
        load(tmp_path)


def test_a_damaged_graph_is_the_users_to_hear_of(
    teacher: CompressedModel, context: Contexts, tmp_path: Path
) -> None:
    write(teacher, NoQuantizer(), context(teacher), tmp_path)
    for name in ("model.bin", "model.xml"):
        path = tmp_path / name
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(UserError, match=f"{name} is damaged: its SHA-256"):
            load(tmp_path)
        before = (tmp_path / MANIFEST).read_text()
        manifest = json.loads(before)
        manifest["files"][name] = hashlib.sha256(path.read_bytes()).hexdigest()
        (tmp_path / MANIFEST).write_text(json.dumps(manifest))
        with pytest.raises(UserError, match="OpenVINO cannot read it"):
            load(tmp_path)
        path.write_bytes(whole)
        (tmp_path / MANIFEST).write_text(before)
    with pytest.raises(UserError, match="runs on cpu in the openvino runtime, got cuda"):
        load(tmp_path, torch_device="cuda")


def pruned(model: CompressedModel, ctx: StageContext, *choices: str) -> CompressedModel:
    for choice in choices:
        name, *overrides = choice.split()
        pruner: Any = settings_of("pruner", name, *(f"pruner.{each}" for each in overrides))
        model = pruner.prune(model, ctx)
    return model


@pytest.mark.parametrize("name", ["none", "int8_weight_only", "int4_weight_only", "int8_static"])
def test_uneven_heads_factors_and_a_smaller_vocabulary_go_through(
    name: str, biased: CompressedModel, context: Contexts, tmp_path: Path
) -> None:
    ctx = context(biased)
    steps = ("heads allocation=global sparsity=0.4", "lowrank scope=ffn", "vocabulary")
    model = pruned(biased, ctx, *steps)
    shapes = {tuple(p.shape) for n, p in model.module.named_parameters() if "query.weight" in n}
    assert len(shapes) > 1
    assert any(".down." in n for n, _ in model.module.named_parameters())
    found, error = write(model, quantizer_of(name), ctx, tmp_path)
    assert error < {"none": 1e-5, "int8_static": 0.1}.get(name, 0.05)
    check_claims(read_manifest(tmp_path).history, found.weights())


@pytest.mark.parametrize(
    "quantizer",
    [
        quantizer_of("none"),
        quantizer_of("int8_static", "embeddings=int8"),
        quantizer_of("int8_weight_only", "embeddings=int4"),
        quantizer_of("int4_weight_only", "symmetric=false", "group_size=8"),
    ],
    ids=lambda quantizer: type(quantizer).__name__,
)
def test_zeros_that_were_claimed_are_found_again(
    quantizer: Quantizer, biased: CompressedModel, context: Contexts, tmp_path: Path
) -> None:
    ctx = context(biased)
    model = pruned(biased, ctx, "magnitude sparsity=0.5")
    found, _ = write(model, quantizer, ctx, tmp_path)
    check_claims(read_manifest(tmp_path).history, found.weights())
    names = set(model.history[-1].claimed_zeros)
    counts = [
        count_weights(weights, names)
        for weights in (model.module.named_parameters(), found.weights())
    ]
    assert counts[0].total == counts[1].total
    assert counts[0].compressible == counts[1].compressible
    assert counts[0].compressible_zeros <= counts[1].compressible_zeros


def test_importing_needs_no_openvino_and_nothing_is_sent_or_left_behind(tmp_path: Path) -> None:
    """In a process of its own: NNCF switches its telemetry off when it sees pytest."""
    home = tmp_path / "home"
    home.mkdir()
    script = ROOT / "tests" / "runtime" / "openvino_in_a_fresh_process.py"
    environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    environment = {name: v for name, v in environment.items() if name not in ("CI", "NNCF_CI")}
    environment["PYTHONPATH"] = str(ROOT)
    result = subprocess.run(
        [sys.executable, "-W", "error", str(script), str(tmp_path / "model")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "ok\n"
    assert not [path for path in home.rglob("*") if path.is_file()]


def test_entropy_is_refused() -> None:
    choices = ("quantizer=int8_static", "quantizer.calibration=entropy")
    cfg = compose_config("teacher=tiny_random", "device=cpu_openvino", *choices)
    with pytest.raises(UserError, match="entropy cannot be had in the openvino runtime; minmax"):
        build_run(cfg)


def test_layers_go_back_to_float_until_the_drop_is_met(
    biased: CompressedModel,
    context: Contexts,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    def hits(labels: Sequence[int]) -> Any:
        assert list(labels) == list(context(biased).data.validation.labels)

        def validate(compiled: Any, rows: Any) -> tuple[float, list[float]]:
            # All rows are right as soon as one Linear computes in float32.
            right = float("f32" in linear_types(compiled))
            return right, [right for _ in rows]

        return validate

    monkeypatch.setattr("compress.openvino_compression._hits", hits)
    quantizer = quantizer_of("int8_static", "accuracy_drop=0.01")
    model, _ = write(biased, quantizer, context(biased), tmp_path)
    kinds = read_manifest(tmp_path).history[-1].notes["linear_weights"]
    assert 0 < kinds["f32"] < kinds["i8"]
    assert model.precision == "int8"
    assert capfd.readouterr().out == ""


def test_calibration_needs_rows(
    teacher: CompressedModel, context: Contexts, data: TrainingData, tmp_path: Path
) -> None:
    ctx = context(teacher)
    ctx = replace(ctx, data=replace(data, calibration=make_split(0, "none")))
    with pytest.raises(UserError, match="needs calibration rows"):
        OpenVino(specialize=True).export(
            teacher, quantizer_of("int8_static"), tmp_path / "model", ctx
        )


def test_threads_are_those_asked_for(
    teacher: CompressedModel, context: Contexts, tmp_path: Path
) -> None:
    write(teacher, NoQuantizer(), context(teacher), tmp_path)
    model = OpenVinoModel(tmp_path, threads=1)
    asked = ("INFERENCE_NUM_THREADS", "NUM_STREAMS", "DYNAMIC_QUANTIZATION_GROUP_SIZE")
    assert [model._compiled.get_property(name) for name in asked] == [1, 1, 0]
