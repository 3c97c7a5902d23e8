"""bfloat16: every weight with float32's 8 bits of exponent and 7 of fraction.

Kalamkar et al., "A Study of BFLOAT16 for Deep Learning Training", arXiv:1905.12322. Half the bytes
of float32 and all of its range. Fast on GPUs and on CPUs with AVX-512 BF16 or AMX, slow elsewhere.
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
class Bf16(Quantizer, TorchFormat):
    """Makes every weight bfloat16."""

    weight_bits = 16

    def check_torch_model(self, model: PreTrainedModel) -> None:
        """Raises a UserError for models that mix in float32 numbers, as DeBERTa and XLNet do."""
        check_runs(model, "quantizer=bf16", torch.bfloat16)

    def table_bits(self) -> int:
        """The bits of all weights."""
        return self.weight_bits

    def quantize_torch_(self, module: PreTrainedModel) -> None:
        """Casts the module.

        Raises:
            UserError: a weight lies outside bfloat16's range.
        """
        cast_(module, "bf16", torch.bfloat16, "none")
