"""OpenVINO: what it gives, what it holds, and what it refuses."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from compress.config.errors import UserError
from compress.device.cpu import Cpu
from compress.interfaces import CompressedModel
from compress.quantizer.none import NoQuantizer
from compress.runtime.openvino import OpenVino, OpenVinoModel
from compress.store.artifact import load, read_spec
from compress.store.manifest import MANIFEST
from tests.configs import ROOT
from tests.runtime.openvino_models import Contexts, Teachers, same, write
from tests.tiny import IMAGE_ARCHITECTURES

pytest.importorskip("openvino")
pytestmark = pytest.mark.usefixtures("export_once")


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
    [weights] = tmp_path.glob("*.bin")
    assert bytes_of_weights < weights.stat().st_size < bytes_of_weights + 10_000


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


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["roberta", "gpt2", "vit"])
def test_other_architectures(
    architecture: str, shallow: Teachers, teachers: Teachers, context: Contexts, tmp_path: Path
) -> None:
    teacher = (teachers if architecture in IMAGE_ARCHITECTURES else shallow)(architecture)
    model, error = write(teacher, NoQuantizer(), context(teacher), tmp_path)
    assert error < 1e-5
    names = {f"{name}.weight" for name, _ in teacher.module.named_modules()}
    wanted = {n for n, p in teacher.module.named_parameters() if n in names and p.dim() > 1}
    assert wanted <= {name for name, _ in model.weights()}


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


@pytest.mark.slow
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


def test_threads_are_those_asked_for(
    teacher: CompressedModel, context: Contexts, tmp_path: Path
) -> None:
    write(teacher, NoQuantizer(), context(teacher), tmp_path)
    model = OpenVinoModel(tmp_path, threads=1)
    asked = ("INFERENCE_NUM_THREADS", "NUM_STREAMS", "DYNAMIC_QUANTIZATION_GROUP_SIZE")
    assert [model._compiled.get_property(name) for name in asked] == [1, 1, 0]
