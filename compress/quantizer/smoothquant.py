"""SmoothQuant: dynamic int8 whose outliers of activations are moved into the weights first.

Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language
Models", arXiv:2211.10438, equation 4: s_j = max|X_j|^a / max|W_j|^(1 − a) over calibration tokens;
X / s and W · s are rounded in their place, as `compress.quantizer.int8_dynamic` does. As in the
reference implementation, s is at least 1e-5. Deviations: each Linear has its own s, and
divides what it reads by it; there, those that read the same activations share s, with the largest
|W_j| of all of them, and it moves into the norm before them. So it works on any model, for all
Linear layers of its layers, and takes a division of the activations more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from pydantic.dataclasses import dataclass
from torch import Tensor

from compress.config.fields import Fraction
from compress.quantizer.components.calibrated import CalibratedFormat
from compress.quantizer.components.grouped import float_weight
from compress.quantizer.int8_dynamic import Int8Dynamic, Int8DynamicLinear
from compress.transformer.blocks import Linear
from compress.transformer.calibration import Run, input_maxima

LEAST = 1e-5  # of a scale


@dataclass(frozen=True, kw_only=True)
class SmoothQuant(Int8Dynamic, CalibratedFormat):
    """Rounds Linear weights and their inputs to int8 after smoothing.

    Attributes:
        strength: a: how much of the outliers the weights take over (0.5 in the paper for most
            models).
    """

    version = 1

    strength: Fraction

    def gather(self, linears: Mapping[str, Linear], run: Run) -> dict[str, Any]:
        """Max |X_j| of each Linear."""
        return dict(input_maxima(linears, run))

    def choose(
        self, name: str, linear: Linear, statistic: Float[Tensor, " in"]
    ) -> Int8DynamicLinear:
        """The rounded layer."""
        weight = float_weight(linear)
        return smoothed(linear, weight, smoothing(weight, statistic, self.strength))


def smoothing(
    weight: Float[Tensor, "out in"], largest: Float[Tensor, " in"], strength: float
) -> Float[Tensor, " in"]:
    """s; 1 for a column that nothing passes through."""
    found = largest**strength / weight.abs().amax(dim=0) ** (1 - strength)
    passes = (largest > 0) & torch.isfinite(found)
    return torch.where(passes, found.clamp_min(LEAST), 1.0)


def smoothed(
    linear: Linear, weight: Float[Tensor, "out in"], columns: Float[Tensor, " in"]
) -> Int8DynamicLinear:
    """A Linear of W · s that divides what it reads by s."""
    out_features, in_features = weight.shape
    layer = Int8DynamicLinear(in_features, out_features, linear.bias is not None, smoothed=True)
    state = layer.encoded(weight * columns) | {"columns": columns}
    if linear.bias is not None:
        state["bias"] = linear.bias.detach().float()
    layer.load_state_dict(state)
    return layer
