"""Questions of your own to a language model: multiple choice, or the last word of a text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, final

import pandas as pd
from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError, UserError
from compress.task.components.cleaning import is_missing
from compress.task.components.ending_rows import Question
from compress.task.components.questions import EVALUATION, Parts, QuestionTask
from compress.task.components.rows import Request, check_columns, read_rows
from compress.task.components.text_format import TextFormat

LAST_WORD = re.compile(r"(.*\S)(\s+\S+)\s*", re.DOTALL)
SHOWN = 40  # characters of what was got


@final
@dataclass(frozen=True, kw_only=True)
class Endings(QuestionTask):
    """Texts with endings from a CSV, TSV, JSON lines or Parquet file.

    Attributes:
        path: the file, with a header.
        text: the column of texts.
        endings: the columns of endings, two or more; null for the last word of each text.
        answer: the column that says which ending is right: the name of its column, or its number
            from 0; null for last words.
        separator: between a text and an ending.
        format: of the file.
    """

    path: str
    text: str
    endings: tuple[str, ...] | None
    answer: str | None
    separator: str
    format: TextFormat

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        if self.endings is not None and len(self.endings) < 2:
            raise ConfigError(
                "Endings.endings must be two or more columns, or null for last words, got "
                f"{', '.join(self.endings) or 'none'}"
            )
        if (self.endings is None) != (self.answer is None):
            raise ConfigError(
                "Endings.endings and answer must both be columns, or both null for last words, got "
                f"{self.endings} and {self.answer}"
            )
        if len(set(self._columns)) < len(self._columns):
            raise ConfigError(f"Endings must name each column once, got {', '.join(self._columns)}")

    @property
    def _columns(self) -> tuple[str, ...]:
        answer = () if self.answer is None else (self.answer,)
        return (self.text, *(self.endings or ()), *answer)

    @property
    def _request(self) -> Request:
        how = self.format
        return Request(Path(self.path), self._columns, how.character, how.encoding)

    def check(self) -> None:
        """Raises a UserError if the file is absent or lacks a column."""
        check_columns(self._request)

    @property
    def several(self) -> bool:
        """Whether there are columns of endings."""
        return self.endings is not None

    def questions(self) -> tuple[str, Parts, str]:
        """The rows of the file."""
        table, how = read_rows(self._request)
        found = [self._question(row, fields) for row, fields in table.iterrows()]
        name = Path(self.path).name
        return name, {EVALUATION: found}, f"{name} ({how}; {len(table)} rows)"

    def _question(self, row: Any, fields: pd.Series) -> Question:
        text = self._string(row, self.text, fields[self.text])
        if self.endings is None:
            parts = LAST_WORD.fullmatch(text)
            if parts is None:
                raise UserError(f"{self.path}: row {row} has one word, expected a text before it")
            return Question(parts[1], (parts[2],), 0, (len(parts[2].strip()),))
        given = [name for name in self.endings if not is_missing(fields[name])]
        assert self.answer is not None
        answer = self._answer(row, fields[self.answer])
        if answer not in given or len(given) < 2:
            raise UserError(
                f"{self.path}: row {row} has {len(given)} endings, expected two or more with that "
                f"of column {answer!r}, its answer"
            )
        words = [self._string(row, name, fields[name]).strip() for name in given]
        endings = tuple(self.separator + word for word in words)
        return Question(text.rstrip(), endings, given.index(answer), tuple(map(len, words)))

    def _string(self, row: Any, column: str, field: Any) -> str:
        if is_missing(field) or not isinstance(field, str):
            got = "nothing" if is_missing(field) else repr(field)[:SHOWN]
            raise UserError(f"{self.path}: row {row} has {got} in column {column!r}, expected text")
        return field

    def _answer(self, row: Any, field: Any) -> str:
        """The column of the right ending."""
        assert self.endings is not None
        said = "" if is_missing(field) else str(field).strip()
        if said in self.endings:
            return said
        if said.isdecimal() and int(said) < len(self.endings):
            return self.endings[int(said)]
        raise UserError(
            f"{self.path}: row {row} has {repr(field)[:SHOWN]} in column {self.answer!r}, expected "
            f"{', '.join(self.endings)}, or a number from 0 to {len(self.endings) - 1}"
        )
