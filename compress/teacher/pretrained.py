"""A pretrained model from the hub, an offline package or a folder, fine-tuned on the task."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError
from compress.core.monitor import UNWATCHED, Monitor
from compress.interfaces import CompressedModel, Device, Head, Step, Teacher, TrainingData
from compress.teacher.components.finetune import finetuned
from compress.training.train import Training
from compress.transformer.checkpoint import read_checkpoint
from compress.transformer.checkpoint_files import find_model, model_digest
from compress.transformer.pretrained import load_skeleton

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class PretrainedTeacher(Teacher):
    """Any Hugging Face model with a class for the task: texts, images, or the next token.

    Attributes:
        path: a folder or a hub id; or a GGUF file, whose weights become float32.
        revision: branch, tag or commit on the hub; null for the newest.
        finetune: training on the task; with `epochs=0` the model is taken as it is, and must
            have a head for the task's classes, in whatever order.
    """

    version: ClassVar[int] = 2

    path: str
    revision: str | None
    finetune: Training

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        if not self.path:
            raise ConfigError("teacher.path must be a folder or a hub id, got nothing")

    @cached_property
    def _folder(self) -> Path:
        return find_model(self.path, self.revision)

    def check(self) -> None:
        """Raises a UserError if the model cannot be found."""
        assert self._folder

    def content_digest(self) -> str:
        """Digest of the model's files."""
        return model_digest(self._folder)

    def skeleton(self, head: Head) -> PreTrainedModel:
        """The modules on the meta device."""
        return load_skeleton(self._folder, head)

    def untrained(self, data: TrainingData) -> CompressedModel:
        """The checkpoint with a head for the task, a random one where it has none.

        Raises:
            UserError: the checkpoint does not go with the rows.
        """
        module, tokenizer, notes = read_checkpoint(self._folder, data, trained=True)
        return CompressedModel(module, tokenizer, (Step("teacher", self.describe(), notes=notes),))

    def load(
        self, data: TrainingData, device: Device, seed: int, monitor: Monitor = UNWATCHED
    ) -> CompressedModel:
        """Reads the weights, gives them a head for the task, and fine-tunes.

        Raises:
            UserError: the checkpoint does not go with the rows, which is said before any training.
        """
        module, tokenizer, notes = read_checkpoint(
            self._folder, data, trained=self.finetune.epochs > 0
        )
        return finetuned(self, module, tokenizer, self.finetune, data, device, seed, monitor, notes)
