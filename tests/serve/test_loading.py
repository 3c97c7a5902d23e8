"""Model folders as a service loads them, in processes of their own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import compress
from compress.config.errors import UserError
from compress.records.schema import FinishedRun
from compress.runtime.components import openvino_activations
from compress.serve.folder import CONFIG, RUNTIME
from compress.system.digests import file_digest
from tests.configs import ROOT

Runs = Callable[..., FinishedRun]
TEXTS = ["a good film", "dull " * 300, "", "[SEP] 😀 ungewöhnlich"]
# What a service has no use for.
HEAVY = ("torch", "transformers", "pandas", "hydra", "omegaconf", "optuna", "datasets", "scipy")
RUNTIMES = ("onnxruntime", "openvino")


def exported(runs: Runs, folder: Path, runtime: str, *overrides: str) -> Path:
    runs(f"device=cpu_{runtime}", *overrides, folder=folder)
    return folder / "model"


def in_a_process(program: str, *arguments: str) -> str:
    """What a program prints."""
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_service_loads_neither_torch_nor_transformers(
    runtime: str, run_config: Runs, tmp_path: Path
) -> None:
    folder = exported(run_config, tmp_path / "run", runtime)
    program = f"""
import json, sys
import compress
model = compress.load(sys.argv[1], threads=1)
found = model.classify({TEXTS!r})
loaded = [name for name in {HEAVY!r} if name in sys.modules]
print(json.dumps([found, loaded, model.tokenizer, model.precision]))
"""
    found, loaded, tokenizer, precision = json.loads(in_a_process(program, str(folder)))
    assert loaded == []
    assert precision == "float32"
    here = compress.load(folder, threads=1)
    assert tokenizer == here.tokenizer
    for ours, theirs in zip(found, here.classify(TEXTS), strict=True):
        assert ours["label"] == theirs["label"]
        assert ours["score"] == pytest.approx(theirs["score"], abs=1e-6)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_card_has_an_example_for_the_runtimes_own_packages(
    runtime: str, run_config: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = exported(run_config, tmp_path / "run", runtime)
    examples = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    served, own = examples
    monkeypatch.chdir(folder)
    program = f"{own}\nimport json; print(json.dumps([logits.tolist(), probabilities.tolist()]))"
    found = json.loads(in_a_process(f"import os; os.chdir({str(folder)!r})\n{program}"))
    model, texts = compress.load(folder), ["a text", "and another"]
    assert model.outputs.temperature != 1
    for theirs, ours in zip(found, (model.logits(texts), model.predict_proba(texts)), strict=True):
        assert np.allclose(theirs, ours, atol=1e-5)
    scope: dict[str, object] = {}
    exec(served.replace("path/to/this/folder", str(folder)), scope)
    assert "compress" in scope


def test_the_cards_example_rounds_as_the_artifact_does(
    run_config: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not openvino_activations._rounds(16):
        pytest.skip("this processor has no kernels for it")
    rounds = ("quantizer=int8_weight_only", "device.runtime.activation_group=16")
    folder = exported(run_config, tmp_path / "run", "openvino", *rounds)
    _, own = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert '"DYNAMIC_QUANTIZATION_GROUP_SIZE": 16' in own
    scope: dict[str, object] = {}
    monkeypatch.chdir(folder)
    exec(own, scope)
    found = compress.load(folder).logits(["a text", "and another"])
    assert np.allclose(scope["logits"], found, atol=1e-5)


def test_every_runtime_gives_the_same_probabilities(run_config: Runs, tmp_path: Path) -> None:
    folders = [exported(run_config, tmp_path / name, name) for name in RUNTIMES]
    run_config(folder=tmp_path / "torch")
    rows = [
        compress.load(each).predict_proba(TEXTS) for each in (*folders, tmp_path / "torch/model")
    ]
    assert np.allclose(rows[0], rows[1], atol=1e-5)
    assert np.allclose(rows[0], rows[2], atol=1e-5)


def test_what_is_no_model_folder_is_refused(run_config: Runs, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a compress model folder: it has no manifest"):
        compress.load(tmp_path)
    run_config(folder=tmp_path / "run")
    path = tmp_path / "run" / "model" / RUNTIME
    path.write_text(path.read_text().replace('"torch"', '"cobol"'))
    with pytest.raises(UserError, match=r"runtime\.json is damaged: its SHA-256"):
        compress.load(path.parent)


def test_a_missing_package_is_named_with_its_extra(
    run_config: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = exported(run_config, tmp_path / "run", "onnxruntime")
    find = "importlib.util.find_spec"
    monkeypatch.setattr(find, lambda name: None if name == "onnxruntime" else os)
    reason = r"needs the package onnxruntime; pip install 'compress\[serve-onnxruntime\]'"
    with pytest.raises(UserError, match=reason):
        compress.load(folder)


DAMAGES = (
    (CONFIG, "{"),
    (CONFIG, "[]"),
    (CONFIG, '{"id2label": {"first": "x"}}'),
    (CONFIG, '{"id2label": ["x"]}'),
    (RUNTIME, '{"runtime": "RUNTIME", "architecture": "Model", "options": {}}'),
    (RUNTIME, "3"),
)


@pytest.mark.parametrize("runtime", ["torch", *RUNTIMES])
def test_files_whose_checksums_are_right_and_content_is_not(
    runtime: str, run_config: Runs, tmp_path: Path
) -> None:
    overrides = [] if runtime == "torch" else [f"device=cpu_{runtime}"]
    run_config(*overrides, folder=tmp_path / "run")
    whole = tmp_path / "run" / "model"
    for number, (name, content) in enumerate(DAMAGES):
        folder = tmp_path / str(number)
        shutil.copytree(whole, folder)
        (folder / name).write_text(content.replace("RUNTIME", runtime))
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["files"][name] = file_digest(folder / name)
        (folder / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(UserError) as refused:
            compress.load(folder)
        assert name in str(refused.value) or "names Model, which" in str(refused.value)
    for value in (1e-320, 0.0, -1.0, 1e300):  # of a temperature
        manifest = json.loads((whole / "manifest.json").read_text())
        (whole / "manifest.json").write_text(json.dumps({**manifest, "temperature": value}))
        with pytest.raises(UserError, match=r"manifest\.json is damaged: Input should be"):
            compress.load(whole)
