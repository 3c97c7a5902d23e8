"""bfloat16: every weight with float32's 8 bits of exponent and 7 of fraction.

Kalamkar et al., "A Study of BFLOAT16 for Deep Learning Training", arXiv:1905.12322. Half the bytes
of float32 and all of its range. Fast on GPUs and on CPUs with AVX-512 BF16 or AMX, slow elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from compress.interfaces import Quantizer
from compress.runtime.torch import TorchFormat

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class Bf16(Quantizer, TorchFormat):
    """Makes every weight bfloat16."""

    def quantize_torch_(self, module: PreTrainedModel) -> None:
        """Casts the module."""
        module.to(torch.bfloat16)
