"""No quantisation: every weight stays float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compress.interfaces import CompressedModel, Quantizer, StageContext
from compress.runtime.onnxruntime import OnnxFormat
from compress.runtime.openvino import OpenVinoFormat
from compress.runtime.torch import TorchFormat

if TYPE_CHECKING:
    import onnx
    from transformers import PreTrainedModel

    from compress.runtime.components.openvino_graph import OpenVinoSource


@dataclass(frozen=True, kw_only=True)
class NoQuantizer(Quantizer, TorchFormat, OnnxFormat, OpenVinoFormat):
    """Leaves the model as it is."""

    onnx_tolerance = 1e-4  # float32 in another order: 1e-6 on a fine-tuned MiniLM-L6
    onnx_rounds_activations = False
    onnx_precision = "float32"
    # Kernels add up in other orders; at most 1e-5 in MiniLM-L6 on 853 reviews.
    openvino_tolerance = 1e-4
    openvino_rounds_activations = False
    openvino_linears = ("f32",)

    def quantize_torch_(self, module: PreTrainedModel) -> None:
        """Nothing."""

    def quantize_onnx(
        self, graph: onnx.ModelProto, model: CompressedModel, ctx: StageContext
    ) -> onnx.ModelProto:
        """The graph as it is."""
        return graph

    def to_openvino(self, source: OpenVinoSource) -> Any:
        """The graph as it is."""
        return source.graph
