"""Static int8: weights as int8 per output channel, activations in ranges measured beforehand.

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", arXiv:1712.05877, section 2.1, with weights symmetric per channel (Krishnamoorthi,
arXiv:1806.08342, section 3.1) and ranges from calibration rows instead of training (there section
3.1.2). Nothing is measured while the model runs. Torch has no kernels for it that are kept up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError
from compress.config.fields import Fraction, OneOf, OpenFraction
from compress.interfaces import Quantizer
from compress.transformer.quantized_embedding import CHOICES, TABLE_BITS, check_embeddings
from compress.transformer.stacks import check_all_linear

if TYPE_CHECKING:
    from transformers import PreTrainedModel


AUTO, NONE = "auto", "none"
CALIBRATIONS = ("minmax", "entropy", "percentile")


@dataclass(frozen=True, kw_only=True)
class Int8Static(Quantizer):
    """Rounds Linear weights and their inputs to int8, with ranges fixed on calibration rows.

    Attributes:
        embeddings: format of the token, position and type embeddings: none (float32), int8 or int4.
        calibration: range of activations: minmax, entropy (least Kullback-Leibler divergence) or
            percentile.
        percentile: central percentage of values in the range of "percentile", in (50, 100].
        smooth_quant: moves outliers of activations into weights (Xiao et al., "SmoothQuant",
            arXiv:2211.10438), with this strength in (0, 1); auto for the runtime's default.
        bias_correction: adds the mean error to the biases (Nagel et al., arXiv:1906.04721, section
            4.2); auto for the runtime's default.
        accuracy_drop: keep layers in float32 until no more than this share of accuracy is lost on
            validation rows; null to quantize all. Without SmoothQuant: NNCF gives such a layer its
            own weights back, but not its activations.
    """

    embeddings: Annotated[str, OneOf(CHOICES)]
    calibration: Annotated[str, OneOf(CALIBRATIONS)]
    percentile: Annotated[float, Field(gt=50, le=100)]
    smooth_quant: Literal["auto", "none"] | OpenFraction
    bias_correction: Literal["auto"] | bool
    accuracy_drop: Fraction | None

    weight_bits = 8

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        if self.accuracy_drop is not None and self.smooth_quant not in (AUTO, NONE):
            raise ConfigError(
                "Int8Static.smooth_quant must be auto or none with accuracy_drop, "
                f"got {self.smooth_quant}"
            )

    def table_bits(self) -> int:
        """The bits of `embeddings`."""
        return TABLE_BITS[self.embeddings]

    def check(self, skeleton: PreTrainedModel) -> None:
        """Raises a ConfigError unless all layers are Linear and embeddings can be quantized."""
        check_all_linear(skeleton, f"quantizer {type(self).__name__}")
        check_embeddings(skeleton, self.embeddings)

    def check_scores(self, scores: tuple[str, ...]) -> None:
        """Raises a ConfigError if `accuracy_drop` is set and the task has no accuracy."""
        if self.accuracy_drop is not None and "accuracy" not in scores:
            raise ConfigError(
                "quantizer.accuracy_drop needs rows of one class each, the task's scores are "
                f"{', '.join(scores)}: set it to null"
            )
