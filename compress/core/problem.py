"""Problems: head, losses and metrics of each kind of task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from jaxtyping import Float, Shaped
from torch import Tensor

from compress.records.probabilities import Detail

if TYPE_CHECKING:
    from compress.records.schema import Comparison

# What a model has on top: outputs of a row, of each token, one for each token of the vocabulary at
# each place, or nothing but the pooling of its tokens.
Head: TypeAlias = Literal["classifier", "token_classifier", "language_model", "embedder"]
EMBEDDER: Head = "embedder"
# In a batch, beside what a model reads: the place of each word's first token [B, W], -1 for none;
# and the number of texts of each row [B], whose inputs follow each other.
PLACES, TEXTS = "word_places", "row_texts"
# Entry of a model's config: how an embedder's tokens become one vector.
POOLING = "sentence_pooling"


def a_head(head: Head) -> str:
    """A head in a sentence."""
    return f"{'an' if head == EMBEDDER else 'a'} {head}"


def model_inputs(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a model reads of a batch."""
    return {name: value for name, value in batch.items() if name not in (PLACES, TEXTS)}


@dataclass(frozen=True)
class Quality:
    """Metrics of a model on some rows: the primary one with its 95 % interval, and others by name.

    Attributes:
        metric: one of `compress.records.scores.SCORES`.
    """

    metric: str
    value: float
    low: float
    high: float
    others: Mapping[str, float] = field(default_factory=dict)


class Problem(ABC):
    """Head, losses and metrics of a kind of task. Instances are frozen dataclasses.

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
        """Digest of all that training depends on."""
        return repr(self)

    @property
    def learned(self) -> str:
        """What a distillation depends on beside that; rows stay comparable."""
        return ""

    @abstractmethod
    def config(self) -> Mapping[str, Any]:
        """Entries of the model's config for the head."""

    def outputs(
        self, logits: Float[Tensor, "B ..."], inputs: Mapping[str, Tensor]
    ) -> Float[Tensor, "B ..."]:
        """What losses and scores are of, of a batch's logits; by default all of them."""
        return logits

    def targets(
        self, labels: Shaped[Tensor, "B ..."], inputs: Mapping[str, Tensor]
    ) -> Shaped[Tensor, "B ..."]:
        """The targets of a batch: its labels, or tokens of its inputs."""
        return labels

    @abstractmethod
    def loss(
        self,
        logits: Float[Tensor, "B ..."],
        targets: Shaped[Tensor, "B ..."],
        label_smoothing: float = 0.0,
    ) -> Float[Tensor, ""]:
        """Hard-label loss, averaged over the batch."""

    @abstractmethod
    def distillation_loss(
        self,
        student: Float[Tensor, "B ..."],
        teacher: Float[Tensor, "B ..."],
        targets: Shaped[Tensor, "labeled ..."],
        temperature: float,
    ) -> Float[Tensor, ""]:
        """Distillation loss against a teacher's logits, on the scale of `loss`.

        `targets` are those of the rows that have labels, which tell language models where tokens
        count; other problems do not need them.
        """

    def kept(
        self, logits: Float[Tensor, "B ..."], inputs: Mapping[str, Tensor]
    ) -> Float[Tensor, "B ..."]:
        """The part of a batch's logits that scoring needs; by default `outputs`."""
        return self.outputs(logits, inputs)

    def samples(self, labels: Shaped[Tensor, "rows ..."]) -> int:
        """How many independent samples a score is of, such as queries; by default the rows."""
        return len(labels)

    @abstractmethod
    def evaluate(
        self, kept: Float[Tensor, "rows ..."], labels: Shaped[Tensor, "rows ..."]
    ) -> Quality:
        """Computes the metrics of a model from what was kept of every row."""

    @abstractmethod
    def compare(
        self,
        candidate: Float[Tensor, "rows ..."],
        baseline: Float[Tensor, "rows ..."],
        labels: Shaped[Tensor, "rows ..."],
    ) -> Comparison:
        """Compares two models on the same rows: agreement, and a significance test."""

    def of_baseline(self) -> Problem:
        """As the baseline is evaluated, where a setting is of compressed models alone."""
        return self

    def temperature(
        self, kept: Float[Tensor, "rows ..."], labels: Shaped[Tensor, "rows ..."]
    ) -> float | None:
        """What logits are to be divided by for the labels to be likeliest; null without classes."""
        return None

    def detail(
        self,
        kept: Float[Tensor, "rows ..."],
        labels: Shaped[Tensor, "rows ..."],
        temperature: float | None,
    ) -> Detail:
        """Probabilities at a temperature, and classes; nothing by default."""
        return Detail()

    def answers(self, kept: Float[Tensor, "rows ..."]) -> list[str] | None:
        """What a model says of each row, in words; null where rows are neither right nor wrong."""
        return None

    def right_answers(self, labels: Shaped[Tensor, "rows ..."]) -> list[str]:
        """The label of each row, as `answers` says it."""
        return []
