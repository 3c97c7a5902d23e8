"""Pruners as their yamls construct them, and the types of the shared fixtures."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compress.interfaces import CompressedModel, StageContext
from compress.measure.score import predict_all
from compress.measure.sparsity import check_history
from compress.serve.folder import read_manifest
from compress.store.artifact import load
from compress.transformer.blocks import block_linears
from compress.transformer.torch_model import TorchModel
from tests.configs import settings_of
from tests.tiny import torch_export

Teachers = Callable[[str], CompressedModel]
Contexts = Callable[[CompressedModel], StageContext]


def pruner(name: str, *overrides: str) -> Any:
    """The pruner of this yaml; the overrides are of its own settings."""
    return settings_of("pruner", name, *(f"pruner.{override}" for override in overrides))


def logits(model: CompressedModel, ctx: StageContext) -> Tensor:
    """Of the validation rows."""
    return predict_all(TorchModel(model.module, model.tokenizer, "cpu"), ctx.data.validation, 4)


def skeleton(model: CompressedModel) -> Any:
    """The model's modules without weights."""
    return copy.deepcopy(model.module).to("meta")


def round_trip(model: CompressedModel, ctx: StageContext, format_: str, folder: Path) -> Tensor:
    """The logits in a format of the torch runtime, and that they and the history are read back."""
    quantizer: Any = settings_of("quantizer", format_)
    written, read = torch_export(model, quantizer, folder), load(folder)
    pair = [predict_all(each, ctx.data.validation, 4) for each in (written, read)]
    assert torch.equal(*pair)
    assert pair[0].isfinite().all()
    check_history(read_manifest(folder).history, read.weights())
    return pair[0]


def assert_trained_with_zeros_held(before: nn.Module, after: nn.Module) -> None:
    """That weights moved, and those that were zero did not."""
    moved = 0
    for name, linear in block_linears(before).items():  # type: ignore[arg-type]
        weight = after.get_parameter(f"{name}.weight")
        assert torch.equal(weight == 0, linear.weight == 0)
        moved += int((weight != linear.weight).sum())
    assert moved > 0
