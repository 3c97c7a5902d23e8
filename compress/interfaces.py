"""The architecture on one page: the components of a run, and the data between its stages.

    task.load() ─► TaskData ─► teacher.load ─► student.distill ─► pruner.prune ─► runtime.export
                      │                                                                 │
                      └── evaluation (never seen by a stage) ──► measure ◄── load ◄── a folder

Every choice is a frozen `Settings` dataclass that one yaml constructs. Shapes: B batch, L length.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from compress.config.settings import Settings
from compress.core.benchmark import Benchmark
from compress.core.data import ModelStore as ModelStore
from compress.core.data import Split as Split
from compress.core.data import TaskData as TaskData
from compress.core.data import TensorStore as TensorStore
from compress.core.data import TrainingData as TrainingData
from compress.core.inference import InferenceModel as InferenceModel
from compress.core.meter import Meter
from compress.core.model import CompressedModel as CompressedModel
from compress.core.monitor import UNWATCHED, Monitor
from compress.core.problem import Head as Head
from compress.core.problem import Problem as Problem
from compress.records.step import Step as Step

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from compress.core.model import Processor as Processor


@dataclass(frozen=True)
class StageContext:
    """Context of a student or pruner, without the evaluation split."""

    teacher: CompressedModel
    data: TrainingData
    device: Device
    seed: int
    store: ModelStore
    monitor: Monitor = UNWATCHED


class Task(Settings, ABC):
    """What the model is for: rows to learn from and rows to be evaluated on.

    Attributes:
        head: what a model needs on top.
    """

    head: ClassVar[Head] = "classifier"

    @abstractmethod
    def check(self) -> None:
        """Raises a UserError if the rows cannot be read, without reading them all."""

    @abstractmethod
    def check_model(self, model: PreTrainedModel) -> None:
        """Raises a ConfigError if this model, or its skeleton, cannot read the rows."""

    @abstractmethod
    def load(self) -> TaskData:
        """Reads, splits and samples the rows."""

    @abstractmethod
    def scores(self) -> tuple[str, ...]:
        """Metrics of the task: names in `compress.records.scores`, the primary one first."""

    def smooths_labels(self) -> bool:
        """Whether label smoothing is defined for the labels; it is not for numbers."""
        return True

    def validates_by_loss(self) -> bool:
        """Whether validation rows have a loss, by which a training with patience stops."""
        return True

    def has_unlabeled(self) -> bool:
        """Whether there are rows without labels, to learn from by distillation."""
        return False

    def each_fold(self) -> tuple[Task, ...]:
        """The task with each cross-validation fold, from `fold=1`; else only itself."""
        return (self,)


class Teacher(Settings, ABC):
    """The model to compress, and the baseline that every figure is compared with."""

    @abstractmethod
    def check(self) -> None:
        """Raises a UserError if the model cannot be loaded; reads no weights."""

    @abstractmethod
    def skeleton(self, head: Head) -> PreTrainedModel:
        """The model's modules on the meta device: shapes without weights, for checks.

        Raises:
            UserError: the model does not support such a head.
        """

    @abstractmethod
    def untrained(self, data: TrainingData) -> CompressedModel:
        """The model with a head for the task, before any training: for its shapes and tokenizer.

        Raises:
            UserError: the model cannot be read, or does not match the rows.
        """

    @abstractmethod
    def load(
        self, data: TrainingData, device: Device, seed: int, monitor: Monitor = UNWATCHED
    ) -> CompressedModel:
        """The model with a head for the task, fine-tuned if the settings say so."""


class Student(Settings, ABC):
    """A smaller model that is trained by distillation."""

    @abstractmethod
    def check(self, teacher: PreTrainedModel) -> PreTrainedModel:
        """The student's skeleton, given the teacher's; a UserError if it cannot be made."""

    def foresees_shapes(self) -> bool:
        """Whether the skeleton from `check` has exactly the student's shapes."""
        return True

    def check_rows(self, data: TrainingData) -> None:
        """Raises a UserError if the student cannot read the rows."""

    @abstractmethod
    def distill(self, ctx: StageContext) -> CompressedModel:
        """The trained student."""


class Pruner(Settings, ABC):
    """Removes or zeroes weights."""

    @abstractmethod
    def check(self, skeleton: PreTrainedModel) -> PreTrainedModel:
        """The skeleton as it will be after pruning; changes the one it is given.

        Where shapes depend on weights, such as under a global threshold, even ones stand in.

        Raises:
            UserError: the pruner cannot do what it was asked on these shapes.
        """

    def foresees_shapes(self) -> bool:
        """Whether the skeleton from `check` has exactly the shapes after pruning."""
        return True

    def zeroes(self) -> bool:
        """Whether it sets weights to zero that are to stay zero."""
        return False

    def parts(self) -> list[tuple[str, Pruner]]:
        """The pruner truncated after each of its parts, with names; the last is itself."""
        return [("pruner", self)]

    @abstractmethod
    def prune(self, model: CompressedModel, ctx: StageContext) -> CompressedModel:
        """The pruned model, with its recovery training."""


class Quantizer(Settings, ABC):
    """A numeric format. Each runtime implements it in its own way.

    Attributes:
        weight_bits: of an entry of a Linear's weight on disk, without its share of scales.
        keeps_zeros: whether a weight that is zero stays zero.
    """

    weight_bits: ClassVar[int] = 32
    keeps_zeros: ClassVar[bool] = True

    def table_bits(self) -> int:
        """Bits of an entry of an embedding table on disk, without its share of scales."""
        return 32

    def check(self, skeleton: PreTrainedModel) -> None:
        """Raises a UserError if the format does not support a weight's shape."""

    def check_scores(self, scores: tuple[str, ...]) -> None:
        """Raises a UserError if a setting does not support the task's metrics."""

    def prepare(self, model: CompressedModel, ctx: StageContext) -> CompressedModel:
        """The model prepared for the format; unchanged by most formats."""
        return model


@dataclass(frozen=True)
class ExportResult:
    """Result of an export: the reference model, and the tolerance of the logits.

    Attributes:
        reference: a model in memory.
        tolerance: the largest difference of two logits over the reference's largest logit or 1.
        rounds_activations: whether the artifact alone rounds what layers read; the tolerance is
            then of `rounding_share` in `compress/measure/reload.py`.
    """

    reference: InferenceModel
    tolerance: float
    rounds_activations: bool = False


class Runtime(Settings, ABC):
    """Exports a model in a numeric format to a folder, and runs the artifact.

    Attributes:
        libraries: that shape its figures, torch apart; a record has their versions.
    """

    libraries: ClassVar[tuple[str, ...]] = ()

    @classmethod
    @abstractmethod
    def supports(cls, quantizer: type[Quantizer]) -> bool:
        """Whether the runtime implements the quantizer's format."""

    @abstractmethod
    def check(self, quantizer: Quantizer, device: Device) -> None:
        """Raises a UserError if the runtime does not support the format on the device."""

    def check_model(self, model: PreTrainedModel, quantizer: Quantizer) -> None:
        """Raises a UserError if the runtime cannot run the model, given as a skeleton."""

    @abstractmethod
    def export(
        self, model: CompressedModel, quantizer: Quantizer, folder: Path, ctx: StageContext
    ) -> ExportResult:
        """Writes the artifact: only the files that the runtime needs to run it."""

    @classmethod
    def check_load(cls, folder: Path, torch_device: str) -> None:
        """Raises a UserError if a device cannot run an artifact, or a package is missing."""

    @classmethod
    @abstractmethod
    def graph(cls, folder: Path) -> str:
        """Digest of what a verified folder executes: all but the values of its weights."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, torch_device: str, threads: int | None) -> InferenceModel:
        """Loads the model from a verified artifact folder; null threads: the runtime's choice."""


class Device(Settings, ABC):
    """The processor that training and measuring run on.

    Attributes:
        torch_device: the name that torch gives it.
        meter: what measures the memory of a model on it, in a process that has that model alone.
    """

    torch_device: ClassVar[str]
    meter: ClassVar[type[Meter]]
    runtime: Runtime
    benchmark: Benchmark

    @abstractmethod
    def check(self) -> None:
        """Raises a UserError if this machine has no such processor."""

    @abstractmethod
    def session(self) -> AbstractContextManager[None]:
        """Pins threads for the duration of a run."""

    @abstractmethod
    def thread_count(self) -> int:
        """Number of CPU threads."""

    @abstractmethod
    def training_dtype(self) -> torch.dtype:
        """bfloat16 if the processor has arithmetic for it, else float32."""

    @abstractmethod
    def label(self) -> str:
        """A short label for the record, such as "cpu, 2 threads"."""
