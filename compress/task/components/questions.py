"""Base class of the tasks that ask a language model for endings of texts."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, TypeAlias, final

import pandas as pd
from pydantic import Field
from pydantic.dataclasses import dataclass

from compress.config.errors import UserError
from compress.config.fields import PositiveInt, Seed
from compress.interfaces import Head, Task, TaskData, TrainingData
from compress.problem.endings import Endings
from compress.task.components.ending_rows import EndingRows, Question
from compress.task.components.language import JOIN
from compress.task.components.leaks import without_shared
from compress.task.components.sampling import check_reads_tokens
from compress.task.components.splits import HeldOut
from compress.task.components.text import TEXT
from compress.task.components.text_task import ROLES
from compress.task.components.windows import Cutting, TextWindows

if TYPE_CHECKING:
    from transformers import PreTrainedModel

EVALUATION, VALIDATION, TRAIN = ROLES
Parts: TypeAlias = Mapping[str, Sequence[Question]]


@dataclass(frozen=True, kw_only=True)
class QuestionTask(Task, ABC):
    """Texts with endings, of which one is right.

    The train part, texts with their right endings, is what pruners and quantizers are calibrated on
    and trainings learn from: one text, cut into windows of `max_length` tokens. No text is in two
    parts: evaluation keeps it, then validation.

    Attributes:
        split: the rows for validation and evaluation, where these are not given.
        max_length: tokens of a text with an ending, of which the first are left out, and of windows
            to learn from; null for the teacher's number of positions, at most 2,048.
        limit: maximum number of texts of each part, a seeded sample; null for all.
        seed: seed of parts and samples; separate from the run's, so that runs with different seeds
            are evaluated on the same rows.
        calibration_samples: number of windows for calibration, at random places of the train text.
    """

    head: ClassVar[Head] = "language_model"

    split: HeldOut
    max_length: Annotated[int, Field(ge=2)] | None
    limit: PositiveInt | None
    seed: Seed
    calibration_samples: PositiveInt

    @property
    @abstractmethod
    def several(self) -> bool:
        """Whether texts have more than one ending."""

    @abstractmethod
    def questions(self) -> tuple[str, Parts, str]:
        """A short name; the questions, by part; and where they came from, in words.

        What has no part of its own is under "evaluation", which is split. If there is a "train",
        evaluation is whole, and validation rows come from train.
        """

    @final
    def check_model(self, model: PreTrainedModel) -> None:
        """Raises a ConfigError if a model does not read text, or not `max_length` tokens."""
        check_reads_tokens(self, model, max_length=self.max_length)

    def scores(self) -> tuple[str, ...]:
        """Accuracy and the secondary metric."""
        return ("accuracy", "accuracy_by_length" if self.several else "ending_perplexity")

    @final
    def load(self) -> TaskData:
        """Reads and splits the questions; they are tokenized for the teacher's tokenizer."""
        name, given, source = self.questions()
        parts, words = self._split(name, given)
        evaluation, validation = (
            EndingRows(f"{len(parts[role])} texts of {name}", parts[role], self.max_length)
            for role in (EVALUATION, VALIDATION)
        )
        learned = JOIN.join(question.whole for question in parts[TRAIN])
        training = TrainingData(
            problem=Endings(several=self.several),
            train=self._windows(name, learned),
            validation=validation,
            calibration=self._windows(name, learned, draws=self.calibration_samples),
        )
        return TaskData(training, evaluation, source + words)

    def _split(self, name: str, given: Parts) -> tuple[Parts, str]:
        """The questions of each part, and what was left out, in words."""
        every = [question for part in given.values() for question in part]
        places = iter(range(len(every)))
        splits = {
            role: pd.DataFrame({TEXT: [q.whole for q in part]}, index=[next(places) for _ in part])
            .sample(frac=1, random_state=self.seed)
            for role, part in given.items()
        }  # fmt: skip
        whole = TRAIN if TRAIN in splits else EVALUATION
        rest = splits.pop(whole)
        count = len(rest)
        for role, share in self.split.shares.items():
            if role not in splits:
                size = math.ceil(share * count)
                splits[role], rest = rest.iloc[:size], rest.iloc[size:]
        splits[TRAIN] = rest
        splits, words = without_shared({role: splits[role] for role in ROLES})
        for role, rows in splits.items():
            if rows.empty:
                raise UserError(f"{name}: no row is left of the {role} split of {len(every)} rows")
        return {
            role: [every[row] for row in rows.index[: self.limit]] for role, rows in splits.items()
        }, words

    def _windows(self, name: str, text: str, draws: int | None = None) -> TextWindows:
        cutting = Cutting(
            context=self.max_length, stride=None, limit=None, draws=draws, seed=self.seed, least=1
        )
        return TextWindows(f"texts to learn from in {name}", text, cutting)
