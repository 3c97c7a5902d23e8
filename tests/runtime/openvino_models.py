"""What tests of OpenVINO share."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from compress.interfaces import CompressedModel, InferenceModel, Quantizer, StageContext
from compress.measure.reload import check_reload
from compress.measure.score import predict_all
from compress.runtime.openvino import OpenVino
from compress.store.artifact import load
from tests.configs import settings_of

Teachers = Callable[[str], CompressedModel]


Contexts = Callable[[CompressedModel], StageContext]


def with_noise(model: CompressedModel) -> CompressedModel:
    """A copy no two parameters of which are equal."""
    module = copy.deepcopy(model.module)
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=noise)
    return replace(model, module=module)


def quantizer_of(name: str, *overrides: str) -> Quantizer:
    made = settings_of("quantizer", name, *(f"quantizer.{each}" for each in overrides))
    assert isinstance(made, Quantizer)
    return made


def write(
    model: CompressedModel, quantizer: Quantizer, ctx: StageContext, folder: Path
) -> tuple[InferenceModel, float]:
    """Exports, and checks the way that a run does; what came back, and its largest error."""
    exported = OpenVino(specialize=True, activation_group=None).export(
        model, quantizer, folder, ctx
    )
    reloaded = load(folder, threads=1)
    check_reload(exported, reloaded, ctx.data.calibration)
    pair = [predict_all(each, ctx.data.validation, 4) for each in (exported.reference, reloaded)]
    return reloaded, float((pair[0] - pair[1]).abs().max())


def same(found: Tensor, weight: Tensor) -> bool:
    """Whether two weights are equal, transposed or not."""
    forms = (weight, weight.mT) if weight.dim() > 1 else (weight,)
    return any(found.shape == form.shape and torch.equal(found, form) for form in forms)
