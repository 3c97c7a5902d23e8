"""Texts of one's own: any table of one or two text columns and a label column."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from compress.interfaces import TaskData
from compress.problem.classification import Classification
from compress.settings import ConfigError, UserError
from compress.task.cleaning import (
    DROPPABLE,
    SHOWN,
    cleaned,
    sorted_classes,
    with_indices,
    without_shared,
)
from compress.task.folds import FoldedTask
from compress.task.rows import AUTO, Request, check_columns, read_rows
from compress.task.sampling import LABEL, check_held_out
from compress.task.text import SECOND, TEXT, TextTask, text_columns

HELD_OUT = ("evaluation", "validation")  # of texts in both, the first keeps them


@dataclass(frozen=True, kw_only=True)
class Csv(FoldedTask, TextTask):
    """Classification of the texts in a CSV, TSV, JSON lines or Parquet file.

    Its classes are the labels of the file: in numerical order if all are whole numbers, else in
    that of text. Rows of one text are in one fold.

    Attributes:
        path: the file, with a header.
        text: the column of the texts, or the two columns of pairs.
        label: the column of the labels.
        validation_path: a file of the same columns; null to cut that split from `path`.
        evaluation_path: likewise; not where there are folds.
        validation_fraction: of the rows of `path`, if that split is cut from it; in (0, 1).
        evaluation_fraction: likewise.
        delimiter: one character or "tab"; "auto" takes what gives a header with the columns.
        encoding: by Python's name for it; "auto" goes by the byte order mark, else it is UTF-8.
        drop: which rows are left out and counted: "empty" texts, "unlabelled" ones, "duplicates".
    """

    path: str
    text: str | tuple[str, ...]
    label: str
    validation_path: str | None
    evaluation_path: str | None
    validation_fraction: float
    evaluation_fraction: float
    delimiter: str
    encoding: str
    drop: tuple[str, ...]

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ConfigError: one is outside what it may be.
        """
        super().__post_init__()
        check_held_out(self, "rows")
        if self.folds is not None and self.evaluation_path is not None:
            raise ConfigError(
                f"Csv.folds and evaluation_path exclude each other, got {self.folds} and "
                f"{self.evaluation_path}: each fold of path is evaluation rows once"
            )
        if not 1 <= len(self._columns) - 1 <= 2 or len(set(self._columns)) < len(self._columns):
            raise ConfigError(
                "Csv.text must be one or two columns other than that of the labels, got "
                f"{', '.join(self._columns[:-1]) or 'none'} beside {self.label}"
            )
        if self._delimiter != AUTO and (len(self._delimiter) != 1 or self._delimiter in '"\r\n'):
            raise ConfigError(
                f"Csv.delimiter must be auto, tab or one character, got {self.delimiter!r}"
            )
        unknown = sorted(set(self.drop) - set(DROPPABLE))
        if unknown:
            raise ConfigError(
                f"Csv.drop must be among {', '.join(DROPPABLE)}; got {', '.join(unknown)}"
            )
        self._check_encoding()

    def _check_encoding(self) -> None:
        try:
            # Unlike bytes.decode, it also looks at the name where there is nothing to decode.
            io.TextIOWrapper(io.BytesIO(), "utf-8" if self.encoding == AUTO else self.encoding)
        except LookupError as error:
            raise ConfigError(
                f"Csv.encoding must be auto or a text encoding such as utf-8 or latin-1, got "
                f"{self.encoding!r}"
            ) from error

    @property
    def _columns(self) -> tuple[str, ...]:
        """Those of the texts, and then that of the labels."""
        return (*((self.text,) if isinstance(self.text, str) else self.text), self.label)

    @property
    def _delimiter(self) -> str:
        return "\t" if self.delimiter == "tab" else self.delimiter

    @property
    def _given(self) -> dict[str, str]:
        """The files of the splits that have one of their own."""
        paths = {"evaluation": self.evaluation_path, "validation": self.validation_path}
        return {role: path for role, path in paths.items() if path is not None}

    def scores(self) -> tuple[str, ...]:
        """Accuracy, and macro F1 where classes may be uneven."""
        return ("accuracy", "f1_macro")

    def check(self) -> None:
        """Raises a UserError if a file is absent or lacks a column."""
        for path in (self.path, *self._given.values()):
            check_columns(self._request(path))

    def load(self) -> TaskData:
        """Reads the files, learns the classes, and cuts the splits that have no file."""
        rows, words = self._read(self.path)
        classes = sorted_classes(set(rows[LABEL]))
        if len(classes) < 2:
            raise UserError(
                f"{self.path}: all {len(rows)} rows have label {classes[0][:SHOWN]!r}, expected at "
                "least two classes"
            )
        source = [words]
        given = {}
        for role, path in self._given.items():
            table, words = self._read(path)
            given[role] = with_indices(path, table, classes)
            source.append(words)
        shares = {role: self._fraction(role) for role in HELD_OUT if role not in given}
        rows = with_indices(self.path, rows, classes)
        texts = rows.groupby(text_columns(rows), sort=False).ngroup().to_numpy()
        parts = {**given, **self.cut(self.path, rows, shares, classes, texts)}
        splits, words = without_shared({role: parts[role] for role in (*HELD_OUT, "train")})
        self._check_classes(splits, classes)
        named = {role: (self._name(role), splits[role]) for role in ("train", *HELD_OUT)}
        return self.assemble(named, Classification(classes), "; ".join(source) + words)

    def _request(self, path: str) -> Request:
        return Request(Path(path), self._columns, self._delimiter, self.encoding)

    def _read(self, path: str) -> tuple[pd.DataFrame, str]:
        """The clean rows of a file, and words about them."""
        found = read_rows(self._request(path))
        texts = (TEXT, SECOND)[: len(self._columns) - 1]
        table = found.table.set_axis([*texts, LABEL], axis="columns")
        rows, words = cleaned(path, table, self.drop)
        if rows.empty:
            raise UserError(f"{path}: no row is left of {len(table)}{words}")
        return rows, f"{Path(path).name} ({found.words}; {len(table)} rows{words})"

    def _name(self, role: str) -> str:
        """Which rows a split has, in words."""
        whole = Path(self.path).name
        if role in self._given:
            return Path(self._given[role]).name
        if role == "train":
            return whole if len(self._given) == len(HELD_OUT) else f"rest of {whole}"
        return self.cut_words(role, self._fraction(role), whole)

    def _fraction(self, role: str) -> float:
        return {
            "evaluation": self.evaluation_fraction,
            "validation": self.validation_fraction,
        }[role]

    def _check_classes(self, splits: Mapping[str, pd.DataFrame], classes: Sequence[str]) -> None:
        """Refuses a split that has no rows, or was cut and lacks a class.

        Raises:
            UserError: one does.
        """
        for role, rows in splits.items():
            if rows.empty:
                raise UserError(
                    f"{self._given.get(role, self.path)}: no row is left of the {role} split, all "
                    "of its texts are in other splits"
                )
            counts = np.bincount(rows[LABEL], minlength=len(classes))
            if counts.min() == 0 and role not in self._given:
                raise UserError(
                    f"{self.path}: the {role} split of {len(rows)} rows has none of class "
                    f"{classes[int(counts.argmin())]!r}; give more rows of it, or larger fractions"
                )
