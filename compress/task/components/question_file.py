"""Base class of the tasks whose questions are the rows of a file."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, final

import pandas as pd
from pydantic.dataclasses import dataclass

from compress.config.errors import UserError
from compress.task.components.cleaning import is_missing
from compress.task.components.ending_rows import Question
from compress.task.components.questions import EVALUATION, Parts, QuestionTask
from compress.task.components.rows import Request, check_columns, read_rows
from compress.task.components.text_format import TextFormat

SHOWN = 40  # characters of what was got


@dataclass(frozen=True, kw_only=True)
class QuestionFile(QuestionTask):
    """Texts from a CSV, TSV, JSON lines or Parquet file.

    Attributes:
        path: the file, with a header.
        text: the column of texts.
        format: of the file.
    """

    path: str
    text: str
    format: TextFormat

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return (self.text,)

    @abstractmethod
    def question(self, row: Any, text: str, fields: pd.Series) -> Question:
        """The question of a row.

        Args:
            row: names it in errors.
            text: of the row.
            fields: all of its columns.

        Raises:
            UserError: the row has none.
        """

    @final
    def check(self) -> None:
        """Raises a UserError if the file is absent or lacks a column."""
        check_columns(self._request)

    @final
    def questions(self) -> tuple[str, Parts, str]:
        """The rows of the file."""
        table, how = read_rows(self._request)
        found = [
            self.question(row, self.string(row, self.text, fields[self.text]), fields)
            for row, fields in table.iterrows()
        ]
        name = Path(self.path).name
        return name, {EVALUATION: found}, f"{name} ({how}; {len(table)} rows)"

    def string(self, row: Any, column: str, field: Any) -> str:
        """A field of a row as text.

        Raises:
            UserError: it is missing, or no text.
        """
        if is_missing(field) or not isinstance(field, str):
            got = "nothing" if is_missing(field) else repr(field)[:SHOWN]
            raise UserError(f"{self.path}: row {row} has {got} in column {column!r}, expected text")
        return field

    @property
    def _request(self) -> Request:
        how = self.format
        return Request(Path(self.path), self.columns, how.character, how.encoding)
