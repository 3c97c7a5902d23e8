"""Dataset splits: those for the stages, and the evaluation split for measuring only."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from jaxtyping import Shaped
from torch import Tensor

from compress.core.problem import Problem

if TYPE_CHECKING:
    from datasets import Dataset

    from compress.core.model import CompressedModel, Processor


class TensorStore(Protocol):
    """The stage cache's interface for tensors that are costly to compute."""

    def tensors(
        self, name: str, inputs: Mapping[str, Any], make: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """The tensors stored for these inputs, computed if missing."""


class Split(ABC):
    """Labeled rows of one split, not yet encoded.

    Attributes:
        name: describes the rows ("10 % of the published train split, seed 0").
        digest: SHA-256 over inputs and labels; equal digests mean equal rows.
        columns: the texts of all rows, or one text of them all; where rows are pairs, the first
            ones and the second ones. Empty for images.
        max_length: tokens to which the texts of a row are truncated; None where rows are images,
            or windows of one text.
    """

    name: str
    digest: str
    columns: Sequence[Sequence[str]] = ()
    max_length: int | None = None

    @property
    @abstractmethod
    def labels(self) -> Shaped[Tensor, "rows ..."]:
        """The label of each row, such as a class index."""

    @abstractmethod
    def encode(self, tokenizer: Processor) -> Dataset:
        """The rows as model inputs, unpadded, with their `length`; no labels."""

    @abstractmethod
    def collate(self, tokenizer: Processor, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Collates encoded rows, without `length`, into one batch."""

    def training_view(self, seed: int) -> Split:
        """The rows for training: unchanged, or augmented anew at each read.

        Two views with one seed return the same at the nth read of a row.
        """
        return self

    def truncated(self, tokenizer: Processor) -> float | None:
        """The share of rows that are truncated; None if rows never are, as images."""
        return None

    def tokenized(self, model: CompressedModel, store: TensorStore | None = None) -> Split:
        """The rows tokenized for a model, if their number depends on it; else the split itself.

        `store` keeps tokens for other runs.
        """
        return self

    def fitting_batch(self, asked: int) -> int:
        """The batch size, limited so that its logits fit in memory."""
        return asked

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.labels)


@dataclass(frozen=True)
class TrainingData:
    """The splits that a stage may use: by design without the evaluation split."""

    train: Split
    validation: Split
    calibration: Split
    problem: Problem

    def tokenized(self, model: CompressedModel, store: TensorStore | None = None) -> TrainingData:
        """The rows tokenized for the teacher; see `Split.tokenized`."""
        names = ("train", "validation", "calibration")
        return replace(
            self, **{name: getattr(self, name).tokenized(model, store) for name in names}
        )

    @property
    def digest(self) -> str:
        """Digest of the rows of all three splits, and of the problem."""
        parts = [split.digest for split in (self.train, self.validation, self.calibration)]
        return "-".join([*parts, hashlib.sha256(self.problem.digest.encode()).hexdigest()[:8]])


@dataclass(frozen=True)
class TaskData:
    """A loaded task. Only the pipeline holds the evaluation split, and hands it to `measure`.

    Attributes:
        source: where the rows came from, in one sentence.
    """

    training: TrainingData
    evaluation: Split
    source: str

    def tokenized(self, model: CompressedModel, store: TensorStore | None = None) -> TaskData:
        """The rows tokenized for the teacher; see `Split.tokenized`."""
        training, evaluation = (
            self.training.tokenized(model, store),
            self.evaluation.tokenized(model, store),
        )
        return replace(self, training=training, evaluation=evaluation)
