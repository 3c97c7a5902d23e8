"""Half precision: every weight as IEEE float16, 5 bits of exponent and 10 of fraction.

Micikevicius et al., "Mixed Precision Training", arXiv:1710.03740. Half the bytes of float32. Fast
on GPUs; on most CPUs torch emulates the arithmetic and is slower than float32.

Not in ONNX Runtime, which makes every operand float32 first on a CPU: that took 4 to 8 % longer
than float32 (MiniLM-L6 at 1 x 32, 1 x 128 and 16 x 32, one core of a Zen 5 server), and int8 saves
more bytes and time.
"""

from __future__ import annotations

import torch
from pydantic.dataclasses import dataclass

from compress.quantizer.components.half_precision import HalfPrecision


@dataclass(frozen=True, kw_only=True)
class Fp16(HalfPrecision):
    """Makes every weight float16."""

    choice = "fp16"
    dtype = torch.float16
    wider = "bf16"
