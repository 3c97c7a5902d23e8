"""Rows: what a stage learns from, and what only measuring may see."""

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
    """What a stage sees of the stage cache: a place for tensors that are costly to compute."""

    def tensors(
        self, name: str, inputs: Mapping[str, Any], make: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """The tensors stored for these inputs, made now if they are not there yet."""


class Split(ABC):
    """Labelled rows of one split, not yet encoded.

    Attributes:
        name: which rows these are, in words ("10 % of the published train split, seed 0").
        digest: SHA-256 over inputs and labels; equal digests mean equal rows.
    """

    name: str
    digest: str

    @property
    @abstractmethod
    def labels(self) -> Shaped[Tensor, "rows ..."]:
        """What is right of each row: such as a class index."""

    @abstractmethod
    def encode(self, tokenizer: Processor) -> Dataset:
        """The rows as model inputs, unpadded, with their `length`; no labels."""

    @abstractmethod
    def collate(self, tokenizer: Processor, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Encoded rows, without `length`, as one batch."""

    def training_view(self, seed: int) -> Split:
        """The rows as a training sees them: these, or with changes drawn whenever one is read.

        Two views of one seed show the same when a row is read for the nth time.
        """
        return self

    def truncated(self, tokenizer: Processor) -> float | None:
        """The share of rows that are cut to fit; None where nothing is ever cut, as in images."""
        return None

    def cut(self, model: CompressedModel, store: TensorStore | None = None) -> Split:
        """The rows as this model's tokenizer and positions make them; mostly they do not.

        Args:
            model: the teacher.
            store: where tokens are kept for other runs.
        """
        return self

    def fitting_batch(self, asked: int) -> int:
        """At most so many rows a batch as there is memory for their logits."""
        return asked

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.labels)


@dataclass(frozen=True)
class TrainingData:
    """All that a stage may learn from. There is no evaluation split in it, by design.

    Attributes:
        problem: what is to be learned of the rows.
    """

    train: Split
    validation: Split
    calibration: Split
    problem: Problem

    def cut(self, model: CompressedModel, store: TensorStore | None = None) -> TrainingData:
        """The rows as the teacher makes them; see `Split.cut`."""
        names = ("train", "validation", "calibration")
        return replace(self, **{name: getattr(self, name).cut(model, store) for name in names})

    @property
    def digest(self) -> str:
        """Identifies the rows of all three splits, and what is learned from them."""
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

    def cut(self, model: CompressedModel, store: TensorStore | None = None) -> TaskData:
        """The rows as the teacher makes them; see `Split.cut`."""
        training, evaluation = self.training.cut(model, store), self.evaluation.cut(model, store)
        return replace(self, training=training, evaluation=evaluation)
