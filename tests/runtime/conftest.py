"""Fixtures of the runtimes."""

from __future__ import annotations

import copy
import hashlib
from typing import Any

import pytest
import transformers
from transformers import PreTrainedModel

from compress.device.cpu import Cpu
from compress.interfaces import CompressedModel, Split, TrainingData
from compress.runtime.components.onnx_export import export_graph
from tests.runtime.openvino_models import Teachers, with_noise
from tests.tiny import tiny_teacher


@pytest.fixture(scope="session")
def graphs() -> dict[str, Any]:
    """Graphs that were exported before, by their weights: most of a test's time goes there."""
    return {}


@pytest.fixture
def export_once(graphs: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports a model to ONNX once, whatever runtime and format it is for."""

    def export(module: PreTrainedModel, tokenizer: Any, rows: Split) -> Any:
        state = hashlib.sha256()
        for name, tensor in module.state_dict().items():
            state.update(name.encode() + bytes(tensor.contiguous().numpy().data))
        key = state.hexdigest()
        if key not in graphs:
            graphs[key] = export_graph(module, tokenizer, rows)
        return copy.deepcopy(graphs[key])

    for runtime in ("openvino", "onnxruntime"):
        monkeypatch.setattr(f"compress.runtime.{runtime}.export_graph", export)


def loaded(architecture: str, layers: int, data: TrainingData, device: Cpu) -> CompressedModel:
    transformers.set_seed(0)
    return tiny_teacher(architecture, layers).load(data, device, 0)


@pytest.fixture
def teacher(data: TrainingData, device: Cpu) -> CompressedModel:
    """A BERT of two blocks: to export one takes a second."""
    return loaded("bert", 2, data, device)


@pytest.fixture
def biased(teacher: CompressedModel) -> CompressedModel:
    """One no two parameters of which are equal, as in a trained one."""
    return with_noise(teacher)


@pytest.fixture
def shallow(data: TrainingData, device: Cpu) -> Teachers:
    """Models of a single block."""
    return lambda architecture: loaded(architecture, 1, data, device)
