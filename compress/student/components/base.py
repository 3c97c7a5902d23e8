"""Base class of the students: distillation from the teacher."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, final

from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError
from compress.interfaces import CompressedModel, StageContext, Step, Student
from compress.records.curve import MATCHING_CURVE, CurvePoint, curve_notes
from compress.student.components.augmentation import Augmentation
from compress.training.distillation import Distillation, distillation_row_loss, on_logits
from compress.training.matching import Matching, check_same_tokens, matching_objective
from compress.training.train import Objective, Training, train_

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

    def __post_init__(self) -> None:
        """Checks that a student that is trained learns the task."""
        super().__post_init__()
        if self.matching.epochs and not self.distillation.epochs:
            raise ConfigError(
                f"{type(self).__name__}.distillation.epochs must be > 0 after epochs of matching "
                f"alone, which do not train the head; got {self.distillation.epochs:g}"
            )

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
            notes |= self._learn_(module, tokenizer, ctx)
        step = Step("student", self.describe(), notes=notes)
        return CompressedModel(module, tokenizer, (*ctx.teacher.history, step))

    def augmented(self, ctx: StageContext) -> StageContext:
        """The context with the rows that the student learns from."""
        if self.augmentation is None:
            return ctx
        augment = partial(self.augmentation.augment, teacher=ctx.teacher, seed=ctx.seed)
        return replace(ctx, data=ctx.data.with_learned(augment))

    def _learn_(
        self, module: PreTrainedModel, tokenizer: Processor, ctx: StageContext
    ) -> dict[str, Any]:
        """Trains a student in place, in one stage or two; the curves, as notes."""
        ctx = self.augmented(ctx)
        if self.matching.matches_features:
            check_same_tokens(self.matching.method, ctx.teacher, tokenizer, ctx.data.learned)

        def train(training: Training, objective: Objective) -> tuple[CurvePoint, ...]:
            return train_(
                module,
                tokenizer,
                ctx.data,
                training,
                objective,
                device=ctx.device,
                seed=ctx.seed,
                monitor=ctx.monitor,
            )

        notes: dict[str, Any] = {}
        if self.matching.epochs:
            with matching_objective(self.matching, None, module, ctx) as objective:
                curve = train(self._matching_alone(), objective)
            notes = curve_notes(curve, MATCHING_CURVE)
        row_loss = distillation_row_loss(self.distillation, ctx)
        if self.matching.epochs:
            return notes | curve_notes(train(self.distillation, Objective(on_logits(row_loss))))
        with matching_objective(self.matching, row_loss, module, ctx) as objective:
            return curve_notes(train(self.distillation, objective))

    def _matching_alone(self) -> Training:
        """The first of two stages; it trains all its epochs, as no label says which is best."""
        rate = self.matching.learning_rate or self.distillation.learning_rate
        epochs = self.matching.epochs
        return replace(self.distillation, epochs=epochs, learning_rate=rate, patience=None)
