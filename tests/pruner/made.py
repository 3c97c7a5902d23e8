"""Pruners as their yamls construct them, and the types of the shared fixtures."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from torch import Tensor

from compress.interfaces import CompressedModel, StageContext
from compress.measure.score import predict_all
from compress.transformer.torch_model import TorchModel
from tests.configs import settings_of

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
