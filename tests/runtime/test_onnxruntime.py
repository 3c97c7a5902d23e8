"""ONNX Runtime: the round trip through a folder, what it holds, and what it refuses."""

from __future__ import annotations

import copy
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from compress import load
from compress.build import build_run
from compress.config.errors import ConfigError, UserError
from compress.interfaces import CompressedModel, ExportResult, Quantizer, StageContext
from compress.measure.run import check_reload
from compress.measure.score import predict_all
from compress.measure.sparsity import check_history, count_weights
from compress.runtime.onnxruntime import PACKAGES, OnnxRuntime
from compress.store.artifact import read_spec
from compress.store.manifest import read_manifest
from compress.system.files import write_atomically
from compress.system.sources import file_digest
from compress.transformer.torch_model import TorchModel
from tests.configs import ROOT, compose_config, settings_of
from tests.runtime.test_onnx_export import cut_
from tests.slow import slow_but

Exports = Callable[..., ExportResult]


@pytest.fixture
def export(export_once: None, context: Callable[[CompressedModel], StageContext]) -> Exports:
    """Writes a model folder for ONNX Runtime."""

    def write(model: CompressedModel, folder: Path, name: str, *overrides: str) -> ExportResult:
        quantizer = settings_of("quantizer", name, *overrides)
        assert isinstance(quantizer, Quantizer)
        return OnnxRuntime().export(model, quantizer, folder, context(model))

    return write


FORMATS = [
    ("none", [], 1e-6),
    ("int8_dynamic", [], 0.01),
    ("int8_dynamic", ["quantizer.embeddings=int8"], 0.01),
    ("int8_static", [], 0.01),
    ("int8_static", ["quantizer.embeddings=int8"], 0.01),
    ("int8_static", ["quantizer.calibration=entropy"], 0.05),
    ("int8_static", ["quantizer.calibration=percentile"], 0.01),
]


@pytest.mark.parametrize(
    ("name", "overrides", "tolerance"), slow_but([FORMATS[0], FORMATS[4]], FORMATS)
)
def test_a_pruned_model_comes_back_with_its_logits_and_its_zeros(
    name: str,
    overrides: list[str],
    tolerance: float,
    teacher: CompressedModel,
    export: Exports,
    context: Callable[[CompressedModel], StageContext],
    tmp_path: Path,
) -> None:
    data = context(teacher).data
    pruned = settings_of("pruner", "wanda").prune(teacher, context(teacher))  # type: ignore[attr-defined]
    exported = export(pruned, tmp_path, name, *overrides)
    reloaded = load(tmp_path)
    pair = [predict_all(m, data.validation, 4) for m in (exported.reference, reloaded)]
    # The logits of the tiny model are around 0.1.
    assert (pair[0] - pair[1]).abs().max() < tolerance
    check_reload(exported, reloaded, data.calibration)
    check_history(read_manifest(tmp_path).history, reloaded.weights())
    plain = dict(exported.reference.weights())
    found = dict(reloaded.weights())
    # The exporter leaves out a bias of nothing but zeros.
    assert set(plain) - set(found) == {"classifier.bias"}
    linears = {key for key, value in plain.items() if value.dim() == 2 and "embeddings" not in key}
    tables = {key for key in plain if key.endswith("embeddings.weight")}
    coded = {*(linears if name != "none" else ()), *(tables if "int8" in str(overrides) else ())}
    assert {key for key, value in found.items() if value.dtype == torch.int8} == coded
    counts = [count_weights(weights.items(), linears) for weights in (plain, found)]
    assert counts[0].compressible == counts[1].compressible
    assert counts[1].compressible_zeros >= counts[0].compressible_zeros > 0
    assert reloaded.precision == ("float32" if name == "none" else "int8")


@pytest.mark.slow
def test_a_model_cut_everywhere_runs_in_int8(
    teachers: Callable[[str], CompressedModel],
    export: Exports,
    context: Callable[[CompressedModel], StageContext],
    tmp_path: Path,
) -> None:
    teacher = teachers("bert")
    data = context(teacher).data
    pruned = settings_of("pruner", "vocabulary").prune(teacher, context(teacher))  # type: ignore[attr-defined]
    model = pruned.then(cut_(copy.deepcopy(pruned.module)), pruned.history[-1])
    for name in ("none", "int8_static"):
        exported = export(model, tmp_path / name, name, "quantizer=" + name)
        reloaded = load(tmp_path / name)
        check_reload(exported, reloaded, data.calibration)
        check_history(model.history, reloaded.weights())
        logits = [predict_all(m, data.validation, 4) for m in (exported.reference, reloaded)]
        assert (logits[0] - logits[1]).abs().max() < 0.01


def test_the_folder_holds_what_is_needed_and_nothing_else(
    teacher: CompressedModel, export: Exports, tmp_path: Path
) -> None:
    export(teacher, tmp_path, "none")
    needed = {"model.onnx", "config.json", "runtime.json", "manifest.json"}
    tokenizer = {"tokenizer.json", "tokenizer_config.json"}
    assert {path.name for path in tmp_path.iterdir()} == needed | tokenizer
    spec = read_spec(tmp_path)
    assert spec.runtime == "onnxruntime"
    assert spec.architecture == "BertForSequenceClassification"
    stored = sum(value.numel() * value.element_size() for _, value in load(tmp_path).weights())
    content = (tmp_path / "model.onnx").read_bytes()
    # Names and nodes; the exporter would add the source line of each.
    assert stored < len(content) < stored + 40_000
    assert str(ROOT).encode() not in content


def test_int8_makes_the_file_smaller(
    teacher: CompressedModel, export: Exports, tmp_path: Path
) -> None:
    export(teacher, tmp_path / "none", "none")
    export(teacher, tmp_path / "int8", "int8_dynamic", "quantizer.embeddings=int8")
    sizes = [(tmp_path / name / "model.onnx").stat().st_size for name in ("none", "int8")]
    # Of 16 columns: a byte for each entry and four for each row, where four of each entry were. The
    # nodes take a quarter of so small a file.
    assert sizes[1] < 0.7 * sizes[0]


def test_a_batch_longer_than_the_model_is_refused_in_torch_and_here(
    teacher: CompressedModel, export: Exports, tmp_path: Path
) -> None:
    exported = export(teacher, tmp_path, "none")
    limit = teacher.module.config.max_position_embeddings
    for model in (exported.reference, load(tmp_path)):
        batch = {
            name: torch.ones(1, limit + 1, dtype=torch.long)
            for name in ("input_ids", "attention_mask", "token_type_ids")
        }
        with pytest.raises(UserError, match=f"{limit + 1} tokens long, .* at most {limit}"):
            model.predict(batch)
        assert model.predict({name: value[:, 1:] for name, value in batch.items()}).isfinite().all()


def test_positions_that_count_from_the_padding_are_fewer(
    teachers: Callable[[str], CompressedModel],
) -> None:
    roberta = teachers("roberta")
    config = roberta.module.config
    limit = config.max_position_embeddings - config.pad_token_id - 1
    model = TorchModel(roberta.module, roberta.tokenizer, "cpu")
    batch = {"input_ids": torch.full((1, limit), 5)}
    assert model.predict(batch).isfinite().all()
    with pytest.raises(UserError, match=f"at most {limit}"):
        model.predict({"input_ids": torch.full((1, limit + 1), 5)})


@pytest.mark.parametrize("content", [b"", b"no graph", "cut"])
def test_a_damaged_graph_is_refused_even_if_the_manifest_agrees(
    content: bytes | str, teacher: CompressedModel, export: Exports, tmp_path: Path
) -> None:
    export(teacher, tmp_path, "none")
    graph = tmp_path / "model.onnx"
    whole = graph.read_bytes()
    graph.write_bytes(whole[: len(whole) // 2] if isinstance(content, str) else content)
    with pytest.raises(UserError, match=r"model\.onnx is damaged: its SHA-256"):
        load(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["files"]["model.onnx"] = file_digest(graph)
    write_atomically(tmp_path / "manifest.json", json.dumps(manifest))
    with pytest.raises(UserError, match="ONNX Runtime cannot read it"):
        load(tmp_path)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_missing_package_is_refused_before_anything_runs(
    package: str,
    teacher: CompressedModel,
    export: Exports,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    export(teacher, tmp_path, "none")
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *a: None if name == package else found(name, *a)
    )
    words = rf"needs the package {package}; pip install 'compress\[onnxruntime\]'"
    with pytest.raises(UserError, match=words):
        build_run(compose_config("teacher=tiny_random", "device=cpu_onnxruntime"))
    if package == "onnxruntime":
        with pytest.raises(UserError, match=words):
            load(tmp_path)


def test_importing_the_package_imports_none_of_them() -> None:
    code = (
        "import sys, compress, compress.runtime.onnxruntime, compress.quantizer.int8_static;"
        f"sys.exit(any(name in sys.modules for name in {PACKAGES}))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_another_processor_is_refused(
    teacher: CompressedModel, export: Exports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(teacher, tmp_path, "none")
    with pytest.raises(UserError, match="runs on cpu in the onnxruntime runtime, got cuda"):
        OnnxRuntime.load(tmp_path, "cuda", None)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    with pytest.raises(ConfigError, match="runs on cpu, got device=cuda"):
        OnnxRuntime().check(settings_of("quantizer", "none"), settings_of("device", "cuda"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("without_vnni", "expected"), [(False, None), (True, ("session.x64quantprecision", "1"))]
)
def test_exact_kernels_are_asked_for_where_int8_overflows(
    without_vnni: bool,
    expected: tuple[str, str] | None,
    teacher: CompressedModel,
    export: Exports,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    import onnxruntime

    export(teacher, tmp_path, "none")
    entries: list[tuple[str, str]] = []

    class Options(onnxruntime.SessionOptions):  # type: ignore[misc]
        def add_session_config_entry(self, key: str, value: str) -> None:
            entries.append((key, value))
            super().add_session_config_entry(key, value)

    monkeypatch.setattr("onnxruntime.SessionOptions", Options)
    monkeypatch.setattr("torch.cpu._is_vnni_supported", lambda: not without_vnni)
    load(tmp_path)
    assert entries == ([expected] if expected else [])
