"""Formats whose codes are chosen by what the layers read: layer after layer."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from pydantic.dataclasses import dataclass
from torch import Tensor

from compress.interfaces import CompressedModel, StageContext, Step
from compress.measure.memory import LiveTensors
from compress.quantizer.components.linears import LinearFormat, QuantizedLinear
from compress.transformer.blocks import Linear, block_linears, weight_matrix
from compress.transformer.calibration import Run, calibrate_linears
from compress.transformer.surgery import replace_linear_

PEAK_MEMORY = "peak_memory_bytes"


@dataclass(frozen=True, kw_only=True)
class CalibratedFormat(LinearFormat, ABC):
    """Chooses the codes of each layer on the outputs of the rounded layers before it.

    The statistics of one layer are in memory at a time. Linear layers outside the model's layers,
    such as a classifier, become what the format makes of a Linear without them.
    """

    @abstractmethod
    def gather(self, linears: Mapping[str, Linear], run: Run) -> dict[str, Any]:
        """Statistics of the inputs of each Linear of a layer, for `choose`."""

    @abstractmethod
    def choose(self, name: str, linear: Linear, statistic: Any) -> QuantizedLinear:
        """The layer in a Linear's place.

        Raises:
            UserError: the calibration rows are too few for it.
        """

    def prepare(self, model: CompressedModel, ctx: StageContext) -> CompressedModel:
        """The model with packed layers; the history has the peak memory."""
        made: dict[str, QuantizedLinear] = {}
        with LiveTensors() as live:
            module = copy.deepcopy(model.module).to(ctx.device.torch_device)
            linears = block_linears(module)

            @torch.no_grad()
            def round_(name: str, statistic: Any) -> None:
                made[name] = self.choose(name, linears[name], statistic)
                # Layers behind it read what it gives once it is rounded.
                weight_matrix(linears[name]).copy_(made[name].matrix())

            rows = ctx.data.calibration
            calibrate_linears(module, model.tokenizer, rows, linears, self.gather, round_)
        for name, layer in made.items():
            replace_linear_(module, name, linears[name], layer)
        step = Step("quantizer", self.describe(), notes={PEAK_MEMORY: live.peak})
        return model.then(module.to("cpu"), step)


def output_error(difference: Float[Tensor, "out in"], moment: Float[Tensor, "in in"]) -> float:
    """‖(W − Ŵ)X‖² of a layer, from W − Ŵ and XXᵀ."""
    return float(((difference @ moment) * difference).sum())
