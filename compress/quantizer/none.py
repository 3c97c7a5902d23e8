"""No quantization: every weight stays float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from compress.interfaces import Quantizer
from compress.quantizer.components.torch_format import TorchFormat

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class NoQuantizer(Quantizer, TorchFormat):
    """Leaves the model as it is."""

    def quantize_torch_(self, module: PreTrainedModel) -> None:
        """Leaves the module unchanged."""
