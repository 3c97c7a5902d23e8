"""Static int8: weights as int8 per output channel, activations in ranges measured beforehand.

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", arXiv:1712.05877, section 2.1, with weights symmetric per channel (Krishnamoorthi,
arXiv:1806.08342, section 3.1) and ranges from calibration rows instead of training (there section
3.1.2). Nothing is measured while the model runs. Torch has no kernels for it that are kept up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compress.config.errors import ConfigError
from compress.config.settings import check_choice, check_fraction
from compress.interfaces import CompressedModel, Device, Quantizer, StageContext
from compress.runtime.components.onnx_quantize import (
    CALIBRATIONS,
    calibrate,
    quantize_statically,
    quantize_tables,
)
from compress.runtime.components.openvino_compression import StaticInt8, quantize_static
from compress.runtime.onnxruntime import OnnxFormat
from compress.runtime.openvino import OpenVinoFormat
from compress.transformer.quantized_embedding import TABLE_BITS, check_embeddings
from compress.transformer.stacks import check_all_linear

if TYPE_CHECKING:
    import onnx
    from transformers import PreTrainedModel

    from compress.runtime.components.openvino_graph import OpenVinoSource

AUTO, NONE = "auto", "none"


@dataclass(frozen=True, kw_only=True)
class Int8Static(Quantizer, OnnxFormat, OpenVinoFormat):
    """Makes every Linear int8, and what it reads, in ranges fixed on calibration rows.

    Attributes:
        embeddings: format of the tables beside the token embeddings: none (float32) or int8.
        calibration: minmax (all that was seen), entropy (the cut with the least Kullback-Leibler
            divergence) or percentile.
        percentile: the middle share that percentile keeps, in (50, 100].
        smooth_quant: moves outliers of activations into weights (Xiao et al., "SmoothQuant",
            arXiv:2211.10438), with this strength in (0, 1); auto for the runtime's default.
        bias_correction: adds the mean error to the biases (Nagel et al., arXiv:1906.04721, section
            4.2); auto for the runtime's default.
        accuracy_drop: keep layers in float32 until no more than this share of accuracy is lost on
            validation rows; null to quantise all. Without SmoothQuant: NNCF gives such a layer its
            own weights back, but not its activations.
    """

    embeddings: str
    calibration: str
    percentile: float
    smooth_quant: str | float
    bias_correction: str | bool
    accuracy_drop: float | None

    weight_bits = 8
    # The worst logit of 853 rows on a fine-tuned MiniLM-L6: minmax 0.17, percentile 99.99 0.23,
    # entropy 0.53.
    onnx_tolerance = 0.75
    onnx_precision = "int8"
    # Single logits of MiniLM-L6 on 853 reviews: at most 0.12, without SmoothQuant 0.23.
    openvino_tolerance = 0.75

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ConfigError: one is outside what it may be.
        """
        super().__post_init__()
        check_choice(self, "embeddings", ("none", "int8"))
        check_choice(self, "calibration", tuple(CALIBRATIONS))
        if not 50 < self.percentile <= 100:
            raise ConfigError(f"Int8Static.percentile must be in (50, 100], got {self.percentile}")
        if isinstance(self.smooth_quant, str):
            check_choice(self, "smooth_quant", (AUTO, NONE))
        elif not 0 < self.smooth_quant < 1:
            raise ConfigError(
                f"Int8Static.smooth_quant must be auto, none or in (0, 1), got {self.smooth_quant}"
            )
        if isinstance(self.bias_correction, str):
            check_choice(self, "bias_correction", (AUTO,))
        if self.accuracy_drop is not None:
            check_fraction(self, "accuracy_drop")
            if self.smooth_quant not in (AUTO, NONE):
                raise ConfigError(
                    "Int8Static.smooth_quant must be auto or none with accuracy_drop, "
                    f"got {self.smooth_quant}"
                )

    def table_bits(self) -> int:
        """As the setting says."""
        return TABLE_BITS[self.embeddings]

    def check(self, skeleton: PreTrainedModel) -> None:
        """Refuses embeddings that the model does not have or that cannot be quantised.

        Raises:
            ConfigError: so it is; or the model's layers have weights that are no Linear's.
        """
        check_all_linear(skeleton, f"quantizer {type(self).__name__}")
        check_embeddings(skeleton, self.embeddings)

    def check_scores(self, scores: tuple[str, ...]) -> None:
        """Refuses to hold accuracy where the task has none.

        Raises:
            ConfigError: so it is.
        """
        if self.accuracy_drop is not None and "accuracy" not in scores:
            raise ConfigError(
                "quantizer.accuracy_drop needs rows of one class each, the task is judged by "
                f"{', '.join(scores)}: set it to null"
            )

    def check_onnx(self, device: Device) -> None:
        """Refuses what ONNX Runtime's quantizer does not have.

        Raises:
            ConfigError: a setting asks for it.
        """
        asked = {
            "smooth_quant": self.smooth_quant not in (AUTO, NONE),
            "bias_correction": self.bias_correction is True,
            "accuracy_drop": self.accuracy_drop is not None,
        }
        for name in (name for name, wanted in asked.items() if wanted):
            raise ConfigError(
                f"quantizer.{name}={getattr(self, name)} cannot be had in the onnxruntime runtime; "
                "it can in openvino"
            )

    def quantize_onnx(
        self, graph: onnx.ModelProto, model: CompressedModel, ctx: StageContext
    ) -> onnx.ModelProto:
        """The graph with its Linear layers in QDQ form: codes, and nodes that make them float.

        ONNX Runtime replaces each Linear between such nodes by an int8 kernel when it loads.

        Raises:
            UserError: there are no calibration rows.
        """
        rows = ctx.data.calibration
        ranges = calibrate(graph, model, rows, self.calibration, self.percentile)
        if self.embeddings == "int8":
            graph = quantize_tables(graph, model)
        return quantize_statically(graph, ranges)

    def check_openvino(self) -> None:
        """Refuses what NNCF does not have.

        Raises:
            ConfigError: a setting asks for it.
        """
        if self.calibration == "entropy":
            raise ConfigError(
                "quantizer.calibration=entropy cannot be had in the openvino runtime; "
                "minmax and percentile can"
            )

    def to_openvino(self, source: OpenVinoSource) -> Any:
        """The graph with int8 weights and activations, the products of attention too.

        SmoothQuant and bias correction are on by default. A percentile is taken row by row, and the
        mean of the rows counts.

        Raises:
            UserError: there are no calibration rows.
        """
        alphas = {AUTO: None if self.accuracy_drop is None else -1.0, NONE: -1.0}
        how = StaticInt8(
            embeddings=self.embeddings == "int8",
            clipped=(100 - self.percentile) / 200 if self.calibration == "percentile" else 0.0,
            smooth_quant=(
                alphas[self.smooth_quant]
                if isinstance(self.smooth_quant, str)
                else self.smooth_quant
            ),
            bias_correction=self.bias_correction is not False,
            accuracy_drop=self.accuracy_drop,
        )
        return quantize_static(source, how)
