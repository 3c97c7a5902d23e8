"""ONNX Runtime: the round trip through a folder, what it holds, and what it refuses."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from compress.config.errors import UserError
from compress.interfaces import CompressedModel, ExportResult, Quantizer
from compress.measure.reload import check_reload
from compress.measure.score import predict_all
from compress.measure.sparsity import check_history, count_weights
from compress.runtime.onnxruntime import PACKAGES, OnnxRuntime
from compress.serve.folder import read_manifest
from compress.store.artifact import load
from tests.configs import ROOT, settings_of
from tests.runtime.openvino_models import Contexts, Teachers
from tests.runtime.test_onnx_export import cut_
from tests.slow import slow_but

Exports = Callable[..., ExportResult]


@pytest.fixture
def export(export_once: None, context: Contexts) -> Exports:
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
    ("int8_dynamic", ["quantizer.embeddings=int4"], 0.01),
    ("int8_static", ["quantizer.embeddings=int4"], 0.01),
    ("int8_static", ["quantizer.calibration=entropy"], 0.05),
    ("int8_static", ["quantizer.calibration=percentile"], 0.01),
]


@pytest.mark.parametrize(
    ("name", "overrides", "tolerance"), slow_but([FORMATS[0], FORMATS[4], FORMATS[5]], FORMATS)
)
def test_a_pruned_model_comes_back_with_its_logits_and_its_zeros(
    name: str,
    overrides: list[str],
    tolerance: float,
    teacher: CompressedModel,
    export: Exports,
    context: Contexts,
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
    coded = {
        *(linears if name != "none" else ()),
        *(tables if "embeddings" in str(overrides) else ()),
    }
    assert {key for key, value in found.items() if value.dtype == torch.int8} == coded
    counts = [count_weights(weights.items(), linears) for weights in (plain, found)]
    assert counts[0].compressible == counts[1].compressible
    assert counts[1].compressible_zeros >= counts[0].compressible_zeros > 0
    assert reloaded.precision == ("float32" if name == "none" else "int8")


@pytest.mark.slow
def test_a_model_cut_everywhere_runs_in_int8(
    teachers: Teachers, export: Exports, context: Contexts, tmp_path: Path
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


def test_the_file_holds_the_weights_and_int8_makes_it_smaller(
    teacher: CompressedModel, export: Exports, tmp_path: Path
) -> None:
    export(teacher, tmp_path / "none", "none")
    export(teacher, tmp_path / "int8", "int8_dynamic", "quantizer.embeddings=int8")
    sizes = [(tmp_path / name / "model.onnx").stat().st_size for name in ("none", "int8")]
    weights = load(tmp_path / "none").weights()
    stored = sum(value.numel() * value.element_size() for _, value in weights)
    assert stored < sizes[0] < stored + 40_000, "names and nodes"
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


def test_importing_the_package_imports_none_of_them() -> None:
    code = (
        "import sys, compress, compress.runtime.onnxruntime, compress.quantizer.int8_static;"
        f"sys.exit(any(name in sys.modules for name in {PACKAGES}))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


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
    monkeypatch.setattr("compress.serve.onnxruntime.has_vnni", lambda: not without_vnni)
    load(tmp_path)
    assert entries == ([expected] if expected else [])
