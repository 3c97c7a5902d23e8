"""A student that was pretrained on its own: any hub id or folder, which learns from the teacher.

By logits alone it may have another tokenizer, width and architecture than the teacher: each reads
the same rows with its own tokenizer. To match more, both must make the same tokens of a row.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError
from compress.interfaces import StageContext, TrainingData
from compress.student.components.shaped import ShapedStudent
from compress.transformer.checkpoint import read_checkpoint
from compress.transformer.checkpoint_files import find_model, model_digest
from compress.transformer.pretrained import head_of, load_skeleton

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.interfaces import Processor


@dataclass(frozen=True, kw_only=True)
class PretrainedStudent(ShapedStudent):
    """Any Hugging Face model with a class for the task: texts, images, or the next token.

    Attributes:
        path: a folder or a hub id.
        revision: branch, tag or commit on the hub; null for the newest.
    """

    version: ClassVar[int] = 2

    path: str
    revision: str | None

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        if not self.path:
            raise ConfigError("student.path must be a folder or a hub id, got nothing")

    @cached_property
    def _folder(self) -> Path:
        return find_model(self.path, self.revision)

    def content_digest(self) -> str:
        """Digest of the model's files."""
        return model_digest(self._folder)

    def whole_skeleton(self, teacher: PreTrainedModel) -> PreTrainedModel:
        """The student's own skeleton.

        Raises:
            UserError: it has no such head as the teacher, or predicts other tokens.
        """
        student = load_skeleton(self._folder, head_of(teacher))
        if head_of(teacher) == "language_model":
            theirs, ours = (model.config.vocab_size for model in (teacher, student))
            if ours != theirs:
                raise ConfigError(
                    f"a student that is a language model needs the teacher's tokens, got {ours} of "
                    f"them over {theirs}"
                )
        return student

    def check_rows(self, data: TrainingData) -> None:
        """Reads the checkpoint and holds it against the rows.

        Raises:
            UserError: it does not go with them.
        """
        # A head may be drawn at random, on which what follows must not depend.
        with torch.random.fork_rng(devices=[]):
            read_checkpoint(self._folder, data, trained=self.distillation.epochs > 0)

    def whole(self, ctx: StageContext) -> tuple[PreTrainedModel, Processor, dict[str, Any]]:
        """The pretrained weights; the head is drawn at random where they have none."""
        return read_checkpoint(self._folder, ctx.data, trained=self.distillation.epochs > 0)
