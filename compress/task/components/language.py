"""Language modeling: predicts the next token, window by window; see `windows.py`."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, final

from pydantic import Field
from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError, UserError
from compress.config.fields import PositiveInt, Seed
from compress.interfaces import Head, Task, TaskData, TrainingData
from compress.problem.language import LanguageModeling
from compress.task.components.sampling import check_reads_tokens
from compress.task.components.windows import Cutting, TextWindows

if TYPE_CHECKING:
    from transformers import PreTrainedModel

JOIN = "\n\n"  # between documents, as in the reference implementations
ENCODING = "utf-8"


@dataclasses.dataclass(frozen=True)
class Passage:
    """A text and its description."""

    words: str
    text: str


@dataclass(frozen=True, kw_only=True)
class LanguageTask(Task, ABC):
    """A language modeling task: rows are token windows of a text.

    Attributes:
        context: tokens per window; null for the teacher's number of positions, at most 2,048.
        stride: tokens between the starts of two windows of the validation and evaluation text;
            null for `context`. With less, the last `stride` tokens of each window count, so that
            each token counts once and all have at least `context - stride` before them; the first
            so many of the text never count.
        limit: maximum number of windows of each split, a seeded sample; null for all.
        seed: seed of the samples; separate from the run's, so that runs with different seeds are
            evaluated on the same rows.
        calibration_samples: number of windows for calibration, at random places of the train text.
    """

    head: ClassVar[Head] = "language_model"

    context: Annotated[int, Field(ge=2)] | None
    stride: PositiveInt | None
    limit: Annotated[int, Field(ge=2)] | None
    seed: Seed
    calibration_samples: PositiveInt

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        name = type(self).__name__
        if self.context and self.stride and self.stride > self.context:
            raise ConfigError(
                f"{name}.stride must be at most context={self.context}, got {self.stride}: tokens "
                "between two windows would not count"
            )

    @abstractmethod
    def passages(self) -> tuple[Mapping[str, Passage], str]:
        """Texts of "train", "validation" and "evaluation", and a description of their source."""

    @final
    def scores(self) -> tuple[str, ...]:
        """Perplexity and the secondary metrics."""
        return ("perplexity", "bits_per_byte", "token_accuracy", "cloze_accuracy")

    @final
    def check_model(self, model: PreTrainedModel) -> None:
        """Raises a ConfigError if a model does not read text, or not `context` tokens."""
        check_reads_tokens(self, model, context=self.context, stride=self.stride)

    @final
    def load(self) -> TaskData:
        """Reads the texts; they are tokenized once the teacher's tokenizer is known."""
        passages, source = self.passages()
        training = TrainingData(
            problem=LanguageModeling(self.stride),
            train=self._windows(passages["train"]),
            validation=self._windows(passages["validation"], stride=self.stride),
            calibration=self._windows(passages["train"], draws=self.calibration_samples),
        )
        return TaskData(training, self._windows(passages["evaluation"], stride=self.stride), source)

    def _windows(
        self, passage: Passage, stride: int | None = None, draws: int | None = None
    ) -> TextWindows:
        cutting = Cutting(
            context=self.context,
            stride=stride,
            limit=self.limit,
            draws=draws,
            seed=self.seed,
            least=1 if draws else 2,  # an interval takes two
        )
        return TextWindows(passage.words, passage.text, cutting)


def check_file(path: Path) -> None:
    """Raises a UserError if a text file does not exist."""
    if not path.is_file():
        raise UserError(f"task.path: {path} does not exist or is not a file")
