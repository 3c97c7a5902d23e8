"""Base class of the students: distillation from the teacher."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, final

from pydantic.dataclasses import dataclass

from compress.interfaces import CompressedModel, StageContext, Step, Student
from compress.records.curve import CurvePoint, curve_notes
from compress.student.components.augmentation import Augmentation
from compress.training.distillation import Distillation, distillation_row_loss
from compress.training.matching import Matching, check_same_tokens, matching_objective
from compress.training.train import train_

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.interfaces import Processor


@dataclass(frozen=True, kw_only=True)
class BaseStudent(Student, ABC):
    """A student that learns from the teacher.

    Attributes:
        distillation: temperature, alpha, epochs, learning rate; `epochs=0` trains nothing.
        matching: features of the teacher that are matched in addition to logits.
        augmentation: adds training rows; null for none.
    """

    distillation: Distillation
    matching: Matching
    augmentation: Augmentation | None

    @abstractmethod
    def skeleton(self, teacher: PreTrainedModel) -> PreTrainedModel:
        """The student's skeleton, given the teacher's; a UserError if it cannot be built."""

    @abstractmethod
    def start(self, ctx: StageContext) -> tuple[PreTrainedModel, Processor, dict[str, Any]]:
        """The untrained student, its tokenizer, and notes for the record."""

    @final
    def check(self, teacher: PreTrainedModel) -> PreTrainedModel:
        """The student's skeleton.

        Raises:
            UserError: the student cannot be built, or the settings do not fit the two models.
        """
        student = self.skeleton(teacher)
        self.matching.check(teacher, student)
        if self.augmentation is not None:
            self.augmentation.check(teacher)
        return student

    @final
    def distill(self, ctx: StageContext) -> CompressedModel:
        """The trained student."""
        module, tokenizer, notes = self.start(ctx)
        if self.distillation.epochs > 0:
            if self.matching.matches_features:
                notes["layer_map"] = list(self.matching.layers(ctx.teacher.module, module))
            notes |= curve_notes(self._learn_(module, tokenizer, ctx))
        step = Step("student", self.describe(), notes=notes)
        return CompressedModel(module, tokenizer, (*ctx.teacher.history, step))

    def _learn_(
        self, module: PreTrainedModel, tokenizer: Processor, ctx: StageContext
    ) -> tuple[CurvePoint, ...]:
        if self.augmentation is not None:
            rows = self.augmentation.augment(ctx.data.train, ctx.teacher, ctx.seed)
            ctx = replace(ctx, data=replace(ctx.data, train=rows))
        if self.matching.matches_features:
            check_same_tokens(self.matching.method, ctx.teacher, tokenizer, ctx.data.train)
        row_loss = distillation_row_loss(self.distillation, ctx)
        with matching_objective(self.matching, row_loss, module, ctx) as objective:
            return train_(
                module,
                tokenizer,
                ctx.data,
                self.distillation,
                objective,
                device=ctx.device,
                seed=ctx.seed,
                monitor=ctx.monitor,
            )
