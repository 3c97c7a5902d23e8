"""Base class of the 16-bit float formats."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic.dataclasses import dataclass

from compress.interfaces import Quantizer
from compress.quantizer.components.torch_format import TorchFormat
from compress.transformer.dry_run import check_runs
from compress.transformer.rounding import cast_

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class HalfPrecision(Quantizer, TorchFormat):
    """Casts every weight to a float type of 16 bits.

    Attributes:
        choice: name of the quantizer, for messages.
        dtype: the type.
        wider: name of a quantizer with a larger range.
    """

    weight_bits = 16
    choice: ClassVar[str]
    dtype: ClassVar[torch.dtype]
    wider: ClassVar[str]

    def check_torch_model(self, model: PreTrainedModel) -> None:
        """Raises a UserError for models that mix in float32 numbers, as DeBERTa and XLNet do."""
        check_runs(model, f"quantizer={self.choice}", self.dtype)

    def table_bits(self) -> int:
        """The bits of all weights."""
        return self.weight_bits

    def quantize_torch_(self, module: PreTrainedModel) -> None:
        """Casts the module; raises a UserError if a weight lies outside the type's range."""
        cast_(module, self.choice, self.dtype, self.wider)
