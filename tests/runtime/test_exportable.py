"""Architectures that cannot be exported are refused before any work."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

from compress.build import build_run
from compress.config.errors import UserError
from compress.runtime.components.exportable import EXPORTABLE, NOT_EXPORTABLE, check_exportable
from tests.architectures import build, write_tables
from tests.configs import compose_config
from tests.sizes import ARCHITECTURES


def skeleton(name: str, folder: Path) -> transformers.PreTrainedModel:
    config = transformers.AutoConfig.from_pretrained(build(name, folder))
    with torch.device("meta"):
        return transformers.AutoModelForSequenceClassification.from_config(config)


def test_every_architecture_of_the_matrix_is_in_one_table() -> None:
    kinds = {spec.kind for spec in ARCHITECTURES.values()}
    assert kinds <= EXPORTABLE | set(NOT_EXPORTABLE)
    assert not EXPORTABLE & set(NOT_EXPORTABLE)


@pytest.mark.parametrize("device", ["cpu_onnxruntime", "cpu_openvino"])
@pytest.mark.parametrize("name", ["longformer", "funnel", "mixtral"])
def test_what_cannot_be_exported_is_refused_before_work(
    name: str, device: str, tmp_path: Path
) -> None:
    paths = write_tables(tmp_path / "rows", {"train": 12})
    cfg = compose_config(
        *("teacher=local", f"teacher.path={build(name, tmp_path / 'model')}"),
        *("task=csv", f"task.path={paths['train']}", "task.max_length=48", f"device={device}"),
    )
    with pytest.raises(UserError, match=r"is not supported by the .* runtime: .*; supported: "):
        build_run(cfg)


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_frequencies_that_depend_on_the_length_are_refused(kind: str, tmp_path: Path) -> None:
    model = skeleton("llama", tmp_path)
    check_exportable(model, "onnxruntime")
    for found in ({"rope_type": kind}, {"full_attention": {"rope_type": kind}}):
        model.config.rope_parameters = found
        with pytest.raises(UserError, match=rf"depend on the length of a text \(rope_type={kind}"):
            check_exportable(model, "onnxruntime")


@pytest.mark.slow
def test_an_architecture_that_no_table_has_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    kinds = EXPORTABLE - {"bert"}
    monkeypatch.setattr("compress.runtime.components.exportable.EXPORTABLE", kinds)
    monkeypatch.setattr("compress.runtime.components.exportable.NOT_EXPORTABLE", {})
    known, other = (skeleton(name, tmp_path / name) for name in ("bert", "funnel"))
    capfd.readouterr()
    check_exportable(known, "onnxruntime")
    with pytest.raises(UserError, match="it cannot be exported to ONNX"):
        check_exportable(other, "onnxruntime")
    assert capfd.readouterr() == ("", "")


def test_a_model_that_no_file_can_hold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compress.runtime.components.exportable.LARGEST_GRAPH", 1000)
    with pytest.raises(UserError, match="holds less than 2 GB, this model has 0"):
        check_exportable(skeleton("bert", tmp_path), "onnxruntime")
