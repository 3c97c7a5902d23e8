"""Half precision: every weight as IEEE float16, 5 bits of exponent and 10 of fraction.

Micikevicius et al., "Mixed Precision Training", arXiv:1710.03740. Half the bytes of float32. Fast
on GPUs; on most CPUs torch emulates the arithmetic and is slower than float32.

Not in ONNX Runtime, which makes every operand float32 first on a CPU: that took 4 to 8 % longer
than float32 (MiniLM-L6 at 1 x 32, 1 x 128 and 16 x 32, one core of a Zen 5 server), and int8 saves
more bytes and time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic.dataclasses import dataclass

from compress.interfaces import Quantizer
from compress.quantizer.components.torch_format import TorchFormat
from compress.transformer.dry_run import check_runs
from compress.transformer.rounding import cast_

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class Fp16(Quantizer, TorchFormat):
    """Makes every weight float16."""

    weight_bits = 16

    def check_torch_model(self, model: PreTrainedModel) -> None:
        """Raises a UserError for models that mix in float32 numbers, as DeBERTa and XLNet do."""
        check_runs(model, "quantizer=fp16", torch.float16)

    def table_bits(self) -> int:
        """The bits of all weights."""
        return self.weight_bits

    def quantize_torch_(self, module: PreTrainedModel) -> None:
        """Casts the module.

        Raises:
            UserError: a weight lies outside float16's range.
        """
        cast_(module, "fp16", torch.float16, "bf16")
