"""What the runtimes of exported graphs have in common: their folders, and what they refuse."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from compress.build import build_run
from compress.config.errors import ConfigError, UserError
from compress.interfaces import CompressedModel, Device, Runtime
from compress.quantizer.none import NoQuantizer
from compress.runtime import onnxruntime, openvino
from compress.serve.folder import MANIFEST, read_spec
from compress.store.artifact import load
from compress.system.digests import file_digest
from tests.configs import ROOT, compose_config, settings_of
from tests.runtime.openvino_models import Contexts

RUNTIMES: dict[str, Runtime] = {
    "onnxruntime": onnxruntime.OnnxRuntime(),
    "openvino": openvino.OpenVino(specialize=True, activation_group=None),
}
FILES = {"onnxruntime": {"model.onnx"}, "openvino": {"openvino_model.xml", "openvino_model.bin"}}
OPTIONS = {
    "onnxruntime": {"precision": "float32", "positions": 512},
    "openvino": {
        "precision": "f32",
        "positions": 512,
        "specialize": True,
        "activation_group": None,
    },
}
PACKAGES = [
    *(("onnxruntime", package) for package in onnxruntime.PACKAGES),
    *(("openvino", package) for package in openvino.PACKAGES),
]
ALIKE = ("config.json", "manifest.json", "runtime.json", "tokenizer.json", "tokenizer_config.json")


@pytest.fixture
def folder(
    runtime: str, export_once: None, teacher: CompressedModel, context: Contexts, tmp_path: Path
) -> Path:
    """A float32 model as the runtime writes it."""
    RUNTIMES[runtime].export(teacher, NoQuantizer(), tmp_path / "model", context(teacher))
    return tmp_path / "model"


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_folder_holds_what_is_needed_and_nothing_else(runtime: str, folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == FILES[runtime] | set(ALIKE)
    spec = read_spec(folder)
    assert (spec.runtime, spec.architecture) == (runtime, "BertForSequenceClassification")
    assert spec.options == OPTIONS[runtime]
    # The exporter would add the source line of each node.
    assert not any(str(ROOT).encode() in (folder / name).read_bytes() for name in FILES[runtime])


@pytest.mark.parametrize(
    ("runtime", "name", "content"),
    [
        ("onnxruntime", "model.onnx", b""),
        ("onnxruntime", "model.onnx", b"no graph"),
        ("onnxruntime", "model.onnx", None),
        ("openvino", "openvino_model.bin", None),
        ("openvino", "openvino_model.xml", None),
    ],
)
def test_a_damaged_graph_is_refused_even_if_the_manifest_agrees(
    runtime: str, name: str, content: bytes | None, folder: Path
) -> None:
    path = folder / name
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(UserError, match=f"{name} is damaged: its SHA-256"):
        load(folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][name] = file_digest(path)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"(ONNX Runtime|OpenVINO) cannot read it"):
        load(folder)


@pytest.mark.parametrize(("runtime", "package"), PACKAGES)
def test_a_missing_package_is_refused_before_anything_runs(
    runtime: str, package: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *a: None if name == package else found(name, *a)
    )
    words = rf"needs the package {package}; pip install 'compress\[{runtime}\]'"
    with pytest.raises(UserError, match=words):
        build_run(compose_config("teacher=tiny_random", f"device=cpu_{runtime}"))
    if runtime == "openvino" and package != "openvino":
        load(folder)  # needs openvino alone
        return
    with pytest.raises(UserError, match=words):
        load(folder)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_another_processor_is_refused(
    runtime: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=f"runs on cpu in the {runtime} runtime, got cuda"):
        load(folder, torch_device="cuda")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    cuda = settings_of("device", "cuda")
    assert isinstance(cuda, Device)
    with pytest.raises(ConfigError, match=f"{runtime} runtime runs on cpu, got device=cuda"):
        RUNTIMES[runtime].check(NoQuantizer(), cuda)
