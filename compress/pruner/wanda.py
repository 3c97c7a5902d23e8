"""Wanda: prune by weight magnitude times input norm, row by row, without retraining.

Sun, Liu, Bair, Kolter, "A Simple and Effective Pruning Approach for Large Language Models",
arXiv:2306.11695. Like the reference implementation, layer by layer: the norms of a layer are taken
after the layers before it were pruned. Deviations: the number of zeros in a row is the nearest
whole number instead of the one below; each calibration row is a text of the task at its own length
instead of 2,048 tokens; pooler and classifier are left alone.
"""

from __future__ import annotations

from jaxtyping import Float
from pydantic.dataclasses import dataclass
from torch import Tensor

from compress.pruner.components.mask_pruner import MaskPruner
from compress.pruner.components.outliers import OutlierWeighed


@dataclass(frozen=True, kw_only=True)
class Wanda(OutlierWeighed, MaskPruner):
    """Zeroes, in each output row, the weights whose score is smallest."""

    version = 4  # the history has the expected pattern; layers have their own masks and positions
    calibrated = True

    def score(
        self, weight: Float[Tensor, "out in"], input_norm: Float[Tensor, " in"]
    ) -> Float[Tensor, "out in"]:
        """Importance |W_ij| · ‖X_j‖₂ (equation 1)."""
        return weight.abs() * input_norm
