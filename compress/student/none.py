"""No student: the teacher itself is pruned and quantized."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from compress.interfaces import CompressedModel, StageContext, Student

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class NoStudent(Student):
    """Returns the teacher unchanged."""

    def check(self, teacher: PreTrainedModel) -> PreTrainedModel:
        """The teacher's skeleton."""
        return teacher

    def distill(self, ctx: StageContext) -> CompressedModel:
        """The teacher."""
        return ctx.teacher
