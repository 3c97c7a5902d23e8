"""Students in shapes of their own, not yet distilled."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from compress.interfaces import CompressedModel, StageContext, Step
from compress.shaping.shape import Shape
from compress.shaping.subshape import AXES as SUB_AXES
from compress.shaping.subshape import Choices, SubShape
from compress.student.layers import LayersStudent
from tests.configs import settings_of

WHERE = "student.shape"
# The tiny tokenizer has 58 characters and special tokens, and 23 words of the rows.
AXES: dict[str, dict[str, Any]] = {
    "heads": {"heads": 1},
    "neurons": {"neurons": 20},
    "hidden": {"hidden": 12},
    "embedding": {"embedding": 6},
    "activation": {"activation": "relu"},
    "vocabulary": {"vocabulary": 62},
    "positions": {"positions": 40},
}
AXES["all"] = {name: value for sizes in AXES.values() for name, value in sizes.items()}


def shape(**sizes: Any) -> Shape:
    """A shape with these sizes, and nothing else cut."""
    made: Shape = student().shape
    return replace(made, **sizes)


def student(**sizes: Any) -> LayersStudent:
    """The first and the last layer, in this shape, before any training."""
    overrides = [f"student.shape.{name}={value}" for name, value in sizes.items()]
    made = settings_of(
        "student", "layers", "student.keep=2", "student.distillation.epochs=0", *overrides
    )
    assert isinstance(made, LayersStudent)
    return made


def shaped(model: CompressedModel, ctx: StageContext, **sizes: Any) -> CompressedModel:
    """A copy of a model with all its layers, in this shape."""
    module = copy.deepcopy(model.module)
    tokenizer, notes = shape(**sizes).apply_(module, model.tokenizer, ctx, WHERE)
    made = model.then(module, Step("student", {}, notes=notes))
    return replace(made, tokenizer=tokenizer)


def sub(**sizes: int) -> SubShape:
    """A sub-net with these sizes, and else the super-net's own."""
    return SubShape(**{**dict.fromkeys(SUB_AXES), **sizes})


def choices(**lists: Any) -> Choices:
    """Choices along these axes alone."""
    return Choices(**{"depths": (), "hidden": (), "heads": (), "neurons": (), **lists})


def noisy(model: CompressedModel) -> CompressedModel:
    """A copy no two parameters of which are equal, and whose parts all matter to the logits."""
    module, generator = copy.deepcopy(model.module), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return replace(model, module=module)


def sizes_of(module: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    """The shape of each weight."""
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def largest_difference(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())
