"""Fixtures of the runtimes."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from compress.interfaces import (
    CompressedModel,
    Split,
)
from compress.onnx_export import export_graph
from tests.runtime.openvino_models import Teachers


@pytest.fixture(scope="module")
def graphs() -> dict[str, Any]:
    """Graphs that were exported before, by their weights: most of a test's time goes there."""
    return {}


@pytest.fixture
def export_once(graphs: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
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
