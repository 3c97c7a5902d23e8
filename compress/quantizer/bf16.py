"""bfloat16: every weight with float32's 8 bits of exponent and 7 of fraction.

Kalamkar et al., "A Study of BFLOAT16 for Deep Learning Training", arXiv:1905.12322. Half the bytes
of float32 and all of its range. Fast on GPUs and on CPUs with AVX-512 BF16 or AMX, slow elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from compress.config.errors import ConfigError
from compress.interfaces import Quantizer
from compress.runtime.components.openvino_graph import import_openvino
from compress.runtime.components.openvino_rounding import check_halves, store_bfloat16_
from compress.runtime.openvino import OpenVinoFormat
from compress.runtime.torch import TorchFormat
from compress.transformer.dry_run import check_runs
from compress.transformer.rounding import cast_, check_range

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.runtime.components.openvino_graph import OpenVinoSource


@dataclass(frozen=True, kw_only=True)
class Bf16(Quantizer, TorchFormat, OpenVinoFormat):
    """Makes every weight bfloat16."""

    weight_bits = 16
    openvino_tolerance = 0.1  # at most 0.02 in MiniLM-L6 on 853 reviews
    openvino_precision = "bf16"
    openvino_linears = ("bf16",)

    def check_torch_model(self, model: PreTrainedModel) -> None:
        """Refuses a model that mixes in float32 numbers of its own, as DeBERTa and XLNet do.

        Raises:
            UserError: so it is.
        """
        check_runs(model, "quantizer=bf16", torch.bfloat16)

    def table_bits(self) -> int:
        """As of all weights."""
        return self.weight_bits

    def quantize_torch_(self, module: PreTrainedModel) -> None:
        """Casts the module.

        Raises:
            UserError: a weight lies outside bfloat16's range; says which.
        """
        cast_(module, "bf16", torch.bfloat16, "none")

    def check_openvino(self) -> None:
        """Refuses a CPU without bfloat16 arithmetic: OpenVINO would imitate it, or fail.

        Raises:
            ConfigError: so it is.
        """
        cpu = import_openvino().Core()
        if "BF16" not in cpu.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise ConfigError(
                "quantizer=bf16 needs a CPU with bfloat16 arithmetic in the openvino runtime "
                "(AVX-512 BF16 or AMX), this one has none; take quantizer=none"
            )

    def to_openvino(self, source: OpenVinoSource) -> Any:
        """Stores every parameter as bfloat16.

        Raises:
            UserError: a weight lies outside bfloat16's range; says which.
        """
        check_range(source.model.module, "bf16", torch.bfloat16, "none")
        store_bfloat16_(source.graph, set(source.initializers.values()))
        check_halves(source, source.graph, torch.bfloat16)
        return source.graph
