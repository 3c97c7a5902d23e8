"""Custom text datasets: a table of one or two text columns and labels of any kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from pydantic.dataclasses import dataclass

from compress.task.components.labeled_table import LabeledTable
from compress.task.components.rows import Request, check_columns, read_rows
from compress.task.components.splits import FileSplit
from compress.task.components.text_format import TextFormat


@dataclass(frozen=True, kw_only=True)
class Csv(LabeledTable):
    """Labeled texts in a CSV, TSV, JSON lines or Parquet file.

    Attributes:
        path: the file, with a header.
        split: the rows for validation and evaluation.
        format: of the files.
    """

    path: str
    split: FileSplit
    format: TextFormat

    @property
    def source(self) -> str:
        """The file."""
        return self.path

    @property
    def sources(self) -> Mapping[str, str]:
        """The files of the splits that have their own."""
        return self.split.paths

    def check_rows(self) -> None:
        """Raises a UserError if a file is absent or lacks a column."""
        for path in (self.source, *self.sources.values()):
            check_columns(self._request(path, self.columns))

    def read_source(self, source: str, columns: tuple[str, ...]) -> tuple[pd.DataFrame, str]:
        """These columns of a file.

        Raises:
            UserError: something in it does not fit.
        """
        return read_rows(self._request(source, columns))

    def shown(self, source: str) -> str:
        """The file's name."""
        return Path(source).name

    def _request(self, path: str, columns: tuple[str, ...]) -> Request:
        return Request(Path(path), columns, self.format.character, self.format.encoding)
