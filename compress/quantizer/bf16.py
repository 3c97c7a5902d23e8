"""bfloat16: every weight with float32's 8 bits of exponent and 7 of fraction.

Kalamkar et al., "A Study of BFLOAT16 for Deep Learning Training", arXiv:1905.12322. Half the bytes
of float32 and all of its range. Fast on GPUs and on CPUs with AVX-512 BF16 or AMX, slow elsewhere.
"""

from __future__ import annotations

import torch
from pydantic.dataclasses import dataclass

from compress.quantizer.components.half_precision import HalfPrecision


@dataclass(frozen=True, kw_only=True)
class Bf16(HalfPrecision):
    """Makes every weight bfloat16."""

    choice = "bf16"
    dtype = torch.bfloat16
    wider = "none"
