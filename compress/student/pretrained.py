"""A student that was pretrained on its own: any hub id or folder, trained on the teacher's logits.

Only logits are matched, so the student may have another tokenizer, width and architecture than the
teacher: each reads the same rows with its own tokenizer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from compress.distillation import Distillation, distill_
from compress.interfaces import CompressedModel, StageContext, Step, Student
from compress.pretrained import load_classifier, load_skeleton
from compress.settings import ConfigError
from compress.sources import find_model, model_digest

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class PretrainedStudent(Student):
    """Any Hugging Face model with a sequence classification class.

    Attributes:
        path: a folder or a hub id.
        distillation: temperature, alpha, epochs, learning rate.
    """

    path: str
    distillation: Distillation

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ConfigError: the path is empty.
        """
        super().__post_init__()
        if not self.path:
            raise ConfigError("student.path must be a folder or a hub id, got nothing")

    @cached_property
    def _folder(self) -> Path:
        return find_model(self.path)

    def content_digest(self) -> str:
        """Digest of the model's files."""
        return model_digest(self._folder)

    def check(self, teacher: PreTrainedModel) -> PreTrainedModel:
        """The student's own skeleton."""
        return load_skeleton(self._folder)

    def distill(self, ctx: StageContext) -> CompressedModel:
        """The trained student."""
        fresh_head = self.distillation.epochs > 0
        module, tokenizer = load_classifier(
            self._folder, ctx.data.class_names, fresh_head=fresh_head
        )
        distill_(module, tokenizer, self.distillation, ctx)
        history = (*ctx.teacher.history, Step("student", self.describe()))
        return CompressedModel(module, tokenizer, history)
