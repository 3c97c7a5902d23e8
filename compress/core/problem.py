"""What a model learns to say about a row, what is lost where it errs, and how well it does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from jaxtyping import Float, Shaped
from torch import Tensor

if TYPE_CHECKING:
    from compress.records.schema import Comparison

# What a model has on top: one output a row, or one for each token of the vocabulary at each place.
Head: TypeAlias = Literal["classifier", "language_model"]


@dataclass(frozen=True)
class Quality:
    """How well a model does on some rows.

    Attributes:
        metric: the primary metric; one of `compress.records.schema.SCORES`.
        value: of that metric.
        low: lower end of its 95 % interval.
        high: upper end of it.
        others: what they are evaluated by beside it, by name.
    """

    metric: str
    value: float
    low: float
    high: float
    others: Mapping[str, float] = field(default_factory=dict)


class Problem(ABC):
    """Head, losses and scores of a kind of task. Instances are frozen dataclasses.

    Attributes:
        head: what the model needs on top.
        keeps_logits: whether a teacher's logits of all rows are small enough to be kept. Where they
            are not, the teacher runs beside the student in every step.
        kept_version: raised whenever `kept` keeps something else than before, so that what the
            cache has of a baseline is not read as that.
    """

    head: ClassVar[Head]
    keeps_logits: ClassVar[bool] = True
    kept_version: ClassVar[int] = 1

    @property
    def digest(self) -> str:
        """Identifies all that training depends on."""
        return repr(self)

    @abstractmethod
    def config(self) -> Mapping[str, Any]:
        """What the model's config says of the head."""

    def targets(
        self, labels: Shaped[Tensor, "B ..."], inputs: Mapping[str, Tensor]
    ) -> Shaped[Tensor, "B ..."]:
        """What the logits of a batch are compared with: its labels, or tokens of its inputs."""
        return labels

    @abstractmethod
    def loss(
        self,
        logits: Float[Tensor, "B ..."],
        targets: Shaped[Tensor, "B ..."],
        label_smoothing: float = 0.0,
    ) -> Float[Tensor, ""]:
        """What is lost against the labels, as a mean over the batch."""

    @abstractmethod
    def distillation_loss(
        self,
        student: Float[Tensor, "B ..."],
        teacher: Float[Tensor, "B ..."],
        targets: Shaped[Tensor, "B ..."],
        temperature: float,
    ) -> Float[Tensor, ""]:
        """What is lost against a teacher's logits, on the scale of `loss`."""

    def kept(
        self, logits: Float[Tensor, "B ..."], inputs: Mapping[str, Tensor]
    ) -> Float[Tensor, "B ..."]:
        """What scoring needs of a batch's logits; mostly all of them."""
        return logits

    @abstractmethod
    def evaluate(
        self, kept: Float[Tensor, "rows ..."], labels: Shaped[Tensor, "rows ..."]
    ) -> Quality:
        """How well a model does.

        Args:
            kept: of every row, see there.
            labels: of every row.
        """

    @abstractmethod
    def compare(
        self,
        candidate: Float[Tensor, "rows ..."],
        baseline: Float[Tensor, "rows ..."],
        labels: Shaped[Tensor, "rows ..."],
    ) -> Comparison:
        """Two models on the same rows: whether they say the same, and whether one is better.

        Args:
            candidate: what was kept of every row.
            baseline: the same of the baseline.
            labels: of every row.
        """
