"""OpenVINO implementations of the quantizers' formats, one class each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import torch

from compress.config.errors import ConfigError
from compress.interfaces import Quantizer
from compress.quantizer.awq import Awq
from compress.quantizer.bf16 import Bf16
from compress.quantizer.components.calibrated import CalibratedFormat
from compress.quantizer.components.grouped import GroupedWeights
from compress.quantizer.gptq import Gptq
from compress.quantizer.hqq import Hqq
from compress.quantizer.int8_static import Int8Static
from compress.quantizer.int8_weight_only import Int8WeightOnly
from compress.quantizer.none import NoQuantizer
from compress.quantizer.rtn import Rtn
from compress.runtime.components.grouped import check_bits, check_groups, scale_bound
from compress.runtime.components.openvino_codes import GraphCodes, store_codes_
from compress.runtime.components.openvino_compression import (
    compress_weights,
    fitting_group,
    output_groups,
    quantize_static,
    table_groups,
)
from compress.runtime.components.openvino_graph import OpenVinoSource
from compress.runtime.components.openvino_rounding import check_weights, matrices, store_bfloat16_
from compress.serve.openvino import import_openvino
from compress.transformer.blocks import block_linears, every_linear, shape_of
from compress.transformer.rounding import check_range, half_ulp

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Q = TypeVar("Q", bound=Quantizer)


class OpenVinoFormat(ABC, Generic[Q]):
    """Base of the implementations of numeric formats in OpenVINO.

    Attributes:
        tolerance: how far logits may be from the float model's; see `ExportResult`.
        rounds_activations: whether what layers read is rounded as well. If not, the tolerance is of
            the float model with the weights that the graph stands for.
        linears: what the weight of every Linear must be stored as; empty where the format may leave
            some in float32.
        integers_alone: whether weights are integers and what layers read is not rounded.
    """

    tolerance: ClassVar[float]
    rounds_activations: ClassVar[bool] = True
    linears: ClassVar[tuple[str, ...]] = ()
    integers_alone: ClassVar[bool] = False

    def __init__(self, quantizer: Q) -> None:
        """Stores the quantizer's settings."""
        self.quantizer = quantizer

    @property
    def precision(self) -> str:
        """What is computed in where nothing is int8: "f32" or "bf16"."""
        return "f32"

    def check(self) -> None:
        """Raises a ConfigError if OpenVINO does not support a setting, or not on this machine."""

    def check_shapes(self, model: PreTrainedModel) -> None:
        """Raises a ConfigError if OpenVINO's format does not support a weight's shape."""

    def group_sizes(self, model: PreTrainedModel) -> dict[str, int]:
        """How many weights share a scale, for each product by integers; of `integers_alone`."""
        return {}

    @abstractmethod
    def convert(self, source: OpenVinoSource) -> Any:
        """The converted graph; may be the source's, modified in place.

        Raises:
            UserError: the format does not go with this model.
        """


class FloatFormat(OpenVinoFormat[NoQuantizer]):
    """The float32 graph, unchanged."""

    # Kernels add up in other orders; at most 1e-5 in MiniLM-L6 on 853 reviews.
    tolerance = 1e-4
    rounds_activations = False
    linears = ("f32",)

    def convert(self, source: OpenVinoSource) -> Any:
        """The float32 graph, unchanged."""
        return source.graph


class Bf16Format(OpenVinoFormat[Bf16]):
    """All parameters stored as bfloat16."""

    tolerance = 0.1  # at most 0.02 in MiniLM-L6 on 853 reviews
    linears = ("bf16",)

    @property
    def precision(self) -> str:
        """Bfloat16."""
        return "bf16"

    def check(self) -> None:
        """Raises a ConfigError on a CPU without bfloat16."""
        # OpenVINO would emulate it, or fail.
        if "BF16" not in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise ConfigError(
                "quantizer=bf16 needs a CPU with bfloat16 arithmetic in the openvino runtime "
                "(AVX-512 BF16 or AMX), this one has none; set quantizer=none"
            )

    def convert(self, source: OpenVinoSource) -> Any:
        """The graph with bfloat16 parameters; raises a UserError for weights out of range."""
        module, bf16 = source.model.module, torch.bfloat16
        check_range(module, "bf16", bf16, "none")
        store_bfloat16_(source.graph, set(source.initializers.values()))
        check_weights(source, source.graph, matrices(module), lambda _, w: half_ulp(w, bf16))
        return source.graph


class Int8WeightOnlyFormat(OpenVinoFormat[Int8WeightOnly]):
    """Torch's int8 codes, with float16 scales."""

    tolerance = 1e-4  # of sums in another order
    rounds_activations = False
    linears = ("i8",)
    integers_alone = True

    def group_sizes(self, model: PreTrainedModel) -> dict[str, int]:
        """Whole rows, and those of an output layer that is the table of tokens."""
        rows = {name: shape_of(linear)[1] for name, linear in every_linear(model)}
        return rows | output_groups(model, self.quantizer.embeddings)

    def check_shapes(self, model: PreTrainedModel) -> None:
        """Raises a UserError if no group of about the default size divides an int4 table's rows."""
        table_groups(model, self.quantizer.embeddings)

    def convert(self, source: OpenVinoSource) -> Any:
        """The graph with int8 weights."""
        return compress_weights(source, True, self.quantizer.embeddings)


class GroupedFormat(OpenVinoFormat[GroupedWeights]):
    """Torch's codes in groups, with float16 scales.

    Where columns were scaled for their codes, a node divides what the layer reads.
    """

    tolerance = 1e-4  # of sums in another order
    rounds_activations = False
    linears = ("i4", "u4", "i8", "u8")
    integers_alone = True

    def group_sizes(self, model: PreTrainedModel) -> dict[str, int]:
        """The groups, and those of an output layer that is the table of tokens."""
        size = self.quantizer.group_size
        groups = {n: fitting_group(n, shape_of(x)[1], size) for n, x in every_linear(model)}
        return groups | output_groups(model, self.quantizer.embeddings)

    def check(self) -> None:
        """Raises a ConfigError for codes that OpenVINO has no kernels for."""
        check_bits(self.quantizer, "openvino", (4, 8))

    def check_shapes(self, model: PreTrainedModel) -> None:
        """Raises a UserError if groups do not divide the rows of some layer or int4 table.

        Where codes are not chosen by data, groups of a layer may be smaller than asked.
        """
        table_groups(model, self.quantizer.embeddings)
        self.group_sizes(model)
        if isinstance(self.quantizer, CalibratedFormat):
            check_groups(block_linears(model), self.quantizer.group_size, "openvino")

    def convert(self, source: OpenVinoSource) -> Any:
        """The graph with the codes; raises a UserError for a weight that is too large."""
        codes = {name: GraphCodes.of(layer) for name, layer in source.layers.items()}
        store_codes_(source.graph, source.places(codes), codes)
        graph = compress_weights(source, False, self.quantizer.embeddings)
        check_weights(source, graph, codes, lambda name, w: scale_bound(w, codes[name].bits))
        return graph


class Int8StaticFormat(OpenVinoFormat[Int8Static]):
    """Int8 weights and activations, including attention products.

    SmoothQuant and bias correction are on by default. A percentile is taken row by row, and the
    mean of the rows counts. What is not int8 is computed in float32: in bfloat16, OpenVINO 2026.4.1
    fuses attention with what dequantizes its inputs, and logits of texts of 32 tokens are then off
    by as much as they differ.
    """

    # Single logits of MiniLM-L6 on 853 reviews: at most 0.12, without SmoothQuant 0.23.
    tolerance = 0.75

    def check(self) -> None:
        """Raises a ConfigError for a calibration that is not possible."""
        if self.quantizer.calibration == "entropy":
            raise ConfigError(
                "quantizer.calibration=entropy is not supported by the openvino runtime; "
                "supported: minmax, percentile"
            )

    def check_shapes(self, model: PreTrainedModel) -> None:
        """Raises a UserError if no group of about the default size divides an int4 table's rows."""
        table_groups(model, self.quantizer.embeddings)

    def convert(self, source: OpenVinoSource) -> Any:
        """The graph with int8 weights and activations; see `quantize_static`."""
        return quantize_static(source, self.quantizer)


class RealZeroPointsFormat(GroupedFormat):
    """Groups whose zero points are float16."""

    # 3.4e-4 in SmolLM2-135M, whose logits in float32 are 7 times as far from float64's as before.
    tolerance = 1e-3


FORMATS: Mapping[type[Quantizer], type[OpenVinoFormat[Any]]] = {
    NoQuantizer: FloatFormat,
    Bf16: Bf16Format,
    Int8WeightOnly: Int8WeightOnlyFormat,
    Int8Static: Int8StaticFormat,
    **dict.fromkeys((Rtn, Gptq, Awq), GroupedFormat),
    Hqq: RealZeroPointsFormat,
}
