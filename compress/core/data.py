"""Dataset splits: those for the stages, and the evaluation split for measuring only."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, final

from jaxtyping import Shaped
from torch import Tensor

from compress.config.settings import Settings
from compress.core.problem import Problem
from compress.records.schema import TransferText

if TYPE_CHECKING:
    from datasets import Dataset

    from compress.core.model import CompressedModel, Processor


class TensorStore(Protocol):
    """The stage cache's interface for tensors that are costly to compute."""

    def tensors(
        self, name: str, inputs: Mapping[str, Any], make: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """The tensors stored for these inputs, computed if missing."""


class ModelStore(TensorStore, Protocol):
    """The stage cache's interface for models that several runs of a stage share."""

    def model(
        self,
        stage: str,
        settings: Settings,
        inputs: Mapping[str, str],
        make: Callable[[], CompressedModel],
    ) -> CompressedModel:
        """The model stored for these settings and inputs, computed if missing."""


class Split(ABC):
    """Rows of one split, not yet encoded.

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

    def batch(self, tokenizer: Processor, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """As `collate`, with what a problem needs beside what models read; see `model_inputs`."""
        return self.collate(tokenizer, rows)

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


@final
class Joined(Split):
    """Labeled rows, then rows without labels; `labels` are those of the former."""

    def __init__(self, labeled: Split, unlabeled: Split) -> None:
        """Joins two splits of one kind."""
        self._parts = labeled, unlabeled
        self.name = f"{labeled.name}, and {unlabeled.name}"
        self.digest = f"{labeled.digest}-{unlabeled.digest}"

    @property
    def labels(self) -> Shaped[Tensor, "labeled ..."]:
        """The labels of the labeled rows, which come first."""
        return self._parts[0].labels

    def encode(self, tokenizer: Processor) -> Dataset:
        """The rows as model inputs."""
        from datasets import concatenate_datasets

        return concatenate_datasets([part.encode(tokenizer) for part in self._parts])

    def collate(self, tokenizer: Processor, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Collates encoded rows of both parts."""
        return self._parts[0].collate(tokenizer, rows)

    def batch(self, tokenizer: Processor, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Batches encoded rows of both parts."""
        return self._parts[0].batch(tokenizer, rows)

    def fitting_batch(self, asked: int) -> int:
        """The batch size for the labeled rows."""
        return self._parts[0].fitting_batch(asked)

    def __len__(self) -> int:
        """Number of rows of both parts."""
        return sum(map(len, self._parts))


@dataclass(frozen=True)
class TrainingData:
    """The splits that a stage may use: by design without the evaluation split.

    Attributes:
        unlabeled: rows without labels that students and recovery trainings learn from beside
            train; None if there are none. A teacher gets the data without them.
    """

    train: Split
    validation: Split
    calibration: Split
    problem: Problem
    unlabeled: Split | None = None

    @property
    def labeled(self) -> TrainingData:
        """The data without the rows that have no labels."""
        return replace(self, unlabeled=None)

    @property
    def parts(self) -> tuple[Split, ...]:
        """The parts of `learned`."""
        return (self.train,) if self.unlabeled is None else (self.train, self.unlabeled)

    @cached_property
    def learned(self) -> Split:
        """The rows that a training learns from: train, then those without labels."""
        return self.train if self.unlabeled is None else Joined(self.train, self.unlabeled)

    def with_learned(self, change: Callable[[Split], Split]) -> TrainingData:
        """The data with changed rows to learn from, each part by itself."""
        unlabeled = None if self.unlabeled is None else change(self.unlabeled)
        return replace(self, train=change(self.train), unlabeled=unlabeled)

    def tokenized(self, model: CompressedModel, store: TensorStore | None = None) -> TrainingData:
        """The rows tokenized for the teacher; see `Split.tokenized`."""
        names = ("train", "validation", "calibration")
        return replace(
            self, **{name: getattr(self, name).tokenized(model, store) for name in names}
        )

    @property
    def digest(self) -> str:
        """Digest of the rows of all splits, and of the problem."""
        parts = [split.digest for split in (self.train, self.validation, self.calibration)]
        parts.append(hashlib.sha256(self.problem.digest.encode()).hexdigest()[:8])
        return "-".join([*parts, *(split.digest for split in self.parts[1:])])


@dataclass(frozen=True)
class TaskData:
    """A loaded task. Only the pipeline holds the evaluation split, and hands it to `measure`.

    Attributes:
        source: where the rows came from, in one sentence.
        transfer: describes the training's unlabeled rows; None if there are none.
    """

    training: TrainingData
    evaluation: Split
    source: str
    transfer: TransferText | None = None

    def tokenized(self, model: CompressedModel, store: TensorStore | None = None) -> TaskData:
        """The rows tokenized for the teacher; see `Split.tokenized`."""
        training, evaluation = (
            self.training.tokenized(model, store),
            self.evaluation.tokenized(model, store),
        )
        return replace(self, training=training, evaluation=evaluation)
