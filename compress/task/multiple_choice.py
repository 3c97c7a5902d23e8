"""Questions of your own to a language model, each with several endings."""

from __future__ import annotations

from typing import Annotated, Any, final

import pandas as pd
from pydantic import Field
from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError, UserError
from compress.task.components.cleaning import is_missing
from compress.task.components.ending_rows import Question
from compress.task.components.question_file import SHOWN, QuestionFile


@final
@dataclass(frozen=True, kw_only=True)
class MultipleChoice(QuestionFile):
    """Texts with endings, of which one is right.

    Attributes:
        endings: the columns of endings; a row may leave out some.
        answer: the column that says which ending is right: the name of its column, or its number
            from 0.
        separator: between a text and an ending.
    """

    endings: Annotated[tuple[str, ...], Field(min_length=2)]
    answer: str
    separator: str

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        if len(set(self.columns)) < len(self.columns):
            named = ", ".join(self.columns)
            raise ConfigError(f"MultipleChoice must name each column once, got {named}")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return (self.text, *self.endings, self.answer)

    @property
    def several(self) -> bool:
        """There are several endings."""
        return True

    def question(self, row: Any, text: str, fields: pd.Series) -> Question:
        """The text with the endings that the row has.

        Raises:
            UserError: these are fewer than two, or not among them is the right one.
        """
        given = [name for name in self.endings if not is_missing(fields[name])]
        answer = self._answer(row, fields[self.answer])
        if answer not in given or len(given) < 2:
            raise UserError(
                f"{self.path}: row {row} has {len(given)} endings, expected two or more with that "
                f"of column {answer!r}, its answer"
            )
        words = [self.string(row, name, fields[name]).strip() for name in given]
        endings = tuple(self.separator + word for word in words)
        return Question(text.rstrip(), endings, given.index(answer), tuple(map(len, words)))

    def _answer(self, row: Any, field: Any) -> str:
        """The column of the right ending."""
        said = "" if is_missing(field) else str(field).strip()
        if said in self.endings:
            return said
        # Beside columns that are called by other numbers, 1 would be two answers.
        numbers = not any(name.isdecimal() for name in self.endings)
        whole = said.removesuffix(".0")
        if numbers and whole.isdecimal() and int(whole) < len(self.endings):
            return self.endings[int(whole)]
        also = f", or a number from 0 to {len(self.endings) - 1}" if numbers else ""
        raise UserError(
            f"{self.path}: row {row} has {repr(field)[:SHOWN]} in column {self.answer!r}, expected "
            f"{', '.join(self.endings)}{also}"
        )
