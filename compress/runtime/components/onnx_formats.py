"""ONNX Runtime implementations of the quantizers' formats, one class each."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from compress.config.errors import ConfigError
from compress.interfaces import CompressedModel, Quantizer, StageContext
from compress.quantizer.awq import Awq
from compress.quantizer.components.grouped import GroupedLinear, GroupedWeights
from compress.quantizer.gptq import Gptq
from compress.quantizer.hqq import Hqq
from compress.quantizer.int8_dynamic import Int8Dynamic
from compress.quantizer.int8_static import AUTO, NONE, Int8Static
from compress.quantizer.none import NoQuantizer
from compress.quantizer.rtn import Rtn
from compress.runtime.components.grouped import check_bits
from compress.runtime.components.onnx_export import initializer_names
from compress.runtime.components.onnx_grouped import check_block, store_codes_
from compress.runtime.components.onnx_quantize import (
    calibrate,
    quantize_dynamically,
    quantize_statically,
)
from compress.runtime.components.onnx_tables import quantize_tables
from compress.transformer.quantized_embedding import quantize_embeddings_

if TYPE_CHECKING:
    import onnx
    from transformers import PreTrainedModel

Q = TypeVar("Q", bound=Quantizer)


@dataclass(frozen=True)
class OnnxSource:
    """A float model to be converted to a format.

    Attributes:
        model: in torch.
        layers: codes in groups that Linear layers have in torch.
    """

    model: CompressedModel
    layers: Mapping[str, GroupedLinear]


class OnnxFormat(ABC, Generic[Q]):
    """Base of the implementations of numeric formats in ONNX Runtime.

    Attributes:
        tolerance: how far logits may be from the float model's in torch; see `ExportResult`.
        rounds_activations: whether what layers read is rounded as well.
        precision: what most of it computes in.
    """

    tolerance: ClassVar[float]
    rounds_activations: ClassVar[bool] = True
    precision: ClassVar[str]

    def __init__(self, quantizer: Q) -> None:
        """Stores the quantizer's settings."""
        self.quantizer = quantizer

    def check(self) -> None:
        """Raises a ConfigError if a setting is not supported."""

    def reference(self, module: PreTrainedModel) -> PreTrainedModel:
        """The model in torch whose logits the tolerance is of: the float model."""
        return module

    @abstractmethod
    def convert(
        self, graph: onnx.ModelProto, source: OnnxSource, ctx: StageContext
    ) -> onnx.ModelProto:
        """The converted graph of a float model; may be the given one, modified in place.

        Raises:
            UserError: this model, or its calibration rows, do not go with the format.
        """


class FloatFormat(OnnxFormat[NoQuantizer]):
    """The float32 graph, unchanged."""

    tolerance = 1e-4  # float32 in another order: 1e-6 on a fine-tuned MiniLM-L6
    rounds_activations = False
    precision = "float32"

    def convert(
        self, graph: onnx.ModelProto, source: OnnxSource, ctx: StageContext
    ) -> onnx.ModelProto:
        """The float32 graph, unchanged."""
        return graph


class Int8DynamicFormat(OnnxFormat[Int8Dynamic]):
    """Int8 matrix products; activations are quantized with one scale per call."""

    # Single logits of 853 rows on a fine-tuned MiniLM-L6 are off by at most 0.22, and by 0.25 with
    # int8 tables.
    tolerance = 0.5
    precision = "int8"

    def convert(
        self, graph: onnx.ModelProto, source: OnnxSource, ctx: StageContext
    ) -> onnx.ModelProto:
        """The graph with integer matrix products."""
        return quantize_dynamically(quantize_tables(graph, source.model, self.quantizer.embeddings))


class Int8StaticFormat(OnnxFormat[Int8Static]):
    """Linear layers in QDQ form: int8 weights with QuantizeLinear/DequantizeLinear nodes.

    ONNX Runtime replaces each Linear between such nodes by an int8 kernel when it loads.
    """

    # The worst logit of 853 rows on a fine-tuned MiniLM-L6: minmax 0.17, percentile 99.99 0.23,
    # entropy 0.53.
    tolerance = 0.75
    precision = "int8"

    def check(self) -> None:
        """Raises a ConfigError for settings that ONNX Runtime's quantizer does not support."""
        wanted = self.quantizer
        asked = {
            "smooth_quant": wanted.smooth_quant not in (AUTO, NONE),
            "bias_correction": wanted.bias_correction is True,
            "accuracy_drop": wanted.accuracy_drop is not None,
        }
        for name, is_asked in asked.items():
            if is_asked:
                raise ConfigError(
                    f"quantizer.{name}={getattr(wanted, name)} is not supported by the "
                    "onnxruntime runtime; supported: openvino"
                )

    def convert(
        self, graph: onnx.ModelProto, source: OnnxSource, ctx: StageContext
    ) -> onnx.ModelProto:
        """The graph with int8 Linear layers; raises a UserError without calibration rows."""
        how = self.quantizer
        ranges = calibrate(
            graph, source.model, ctx.data.calibration, how.calibration, how.percentile
        )
        graph = quantize_tables(graph, source.model, how.embeddings)
        return quantize_statically(graph, ranges)


class GroupedFormat(OnnxFormat[GroupedWeights]):
    """Torch's codes in groups.

    Attributes:
        bits: of codes that ONNX Runtime has kernels for.
    """

    tolerance = 1e-4  # of sums in another order
    rounds_activations = False
    precision = "float32"
    bits: ClassVar[tuple[int, ...]] = (4, 8)

    def check(self) -> None:
        """Raises a ConfigError for codes or groups that ONNX Runtime has no kernels for."""
        check_bits(self.quantizer, "onnxruntime", self.bits)
        check_block(self.quantizer.group_size)

    def reference(self, module: PreTrainedModel) -> PreTrainedModel:
        """The float model of the codes, with rounded embeddings."""
        rounded = copy.deepcopy(module)
        quantize_embeddings_(rounded, self.quantizer.embeddings)
        return rounded

    def convert(
        self, graph: onnx.ModelProto, source: OnnxSource, ctx: StageContext
    ) -> onnx.ModelProto:
        """The graph with products of codes."""
        store_codes_(graph, source.layers, initializer_names(graph, source.model.module))
        return quantize_tables(graph, source.model, self.quantizer.embeddings)


class RealZeroPointsFormat(GroupedFormat):
    """Codes around zero points that are no codes."""

    bits = (4,)


FORMATS: Mapping[type[Quantizer], type[OnnxFormat[Any]]] = {
    NoQuantizer: FloatFormat,
    Int8Dynamic: Int8DynamicFormat,
    Int8Static: Int8StaticFormat,
    **dict.fromkeys((Rtn, Gptq, Awq), GroupedFormat),
    Hqq: RealZeroPointsFormat,
}
