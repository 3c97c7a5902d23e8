"""Base class of students that start from a whole model and may be cut to another shape."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, final

from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError
from compress.interfaces import StageContext
from compress.shaping.shape import Shape
from compress.student.components.base import BaseStudent

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.interfaces import Processor

WHERE = "student.shape"


@dataclass(frozen=True, kw_only=True)
class ShapedStudent(BaseStudent, ABC):
    """A student that is cut out of a model with weights.

    Attributes:
        shape: sizes to cut it to, before the distillation.
    """

    shape: Shape

    def __post_init__(self) -> None:
        """Checks that features are matched only over the teacher's tokens."""
        super().__post_init__()
        if self.shape.vocabulary is not None and self.matching.matches_features:
            raise ConfigError(
                f"{WHERE}.vocabulary must be null where matching.method={self.matching.method} "
                "compares the teacher's tokens with the student's, got "
                f"{self.shape.vocabulary}; take matching.method=logit, or pruner=vocabulary"
            )

    @abstractmethod
    def whole_skeleton(self, teacher: PreTrainedModel) -> PreTrainedModel:
        """A new skeleton of the student before it is cut, given the teacher's."""

    @abstractmethod
    def whole(self, ctx: StageContext) -> tuple[PreTrainedModel, Processor, dict[str, Any]]:
        """The student before it is cut, its tokenizer, and notes for the record."""

    def skeleton(self, teacher: PreTrainedModel) -> PreTrainedModel:
        """The student's skeleton in its shape, but with all tokens.

        Raises:
            UserError: the student cannot be built, or not in this shape.
        """
        return self.shape.check(self.whole_skeleton(teacher), WHERE)

    @final
    def foresees_shapes(self) -> bool:
        """Whether the shape does not depend on the task's rows, which say which tokens are kept."""
        return self.shape.vocabulary is None

    def start(self, ctx: StageContext) -> tuple[PreTrainedModel, Processor, dict[str, Any]]:
        """The student in its shape, with the weights that are left of the whole one."""
        module, tokenizer, notes = self.whole(ctx)
        module = module.to(ctx.device.torch_device)
        tokenizer, cut = self.shape.apply_(module, tokenizer, ctx, WHERE)
        return module.to("cpu"), tokenizer, {**notes, **cut}
