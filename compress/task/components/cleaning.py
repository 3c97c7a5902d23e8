"""Cleans the rows of a user's files: bad rows are counted, dropped on request, or rejected."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from decimal import Decimal, InvalidOperation
from typing import Any

import pandas as pd
from torch import Tensor

from compress.config.errors import UserError
from compress.task.components.delimited import is_unicode
from compress.task.components.sampling import LABEL
from compress.task.components.text import text_columns

EMPTY, UNLABELED, DUPLICATES = DROPPABLE = ("empty", "unlabeled", "duplicates")
SHOWN = 40  # characters of what was got
WHOLE = re.compile(r"([+-]?[0-9]+)(\.0*)?")


def cleaned(where: str, table: pd.DataFrame, drop: Collection[str]) -> tuple[pd.DataFrame, str]:
    """Rows that have texts and labels, and a description of what was dropped.

    Rows of kinds that are not to be dropped are refused (empty texts, missing labels) or kept
    (texts that stand there before). The table's index counts rows.

    Raises:
        UserError: a row has no text or no label and is not dropped, or a text is not a string.
    """
    texts = text_columns(table)
    for column in texts:
        check_fields(where, table[column])
    blank = table[texts].map(is_missing).any(axis="columns")
    table, words = _without(where, table, blank, EMPTY, "an empty text", drop)
    table, more = _without(where, table, table[LABEL].isna(), UNLABELED, "no label", drop)
    words += more
    labels = table.groupby(texts, sort=False)[LABEL].nunique()
    if conflicts := int((labels > 1).sum()):
        words.append(f"{conflicts} texts under more than one label")
    again = table.duplicated(texts)
    if DUPLICATES in drop and again.any():
        table = table[~again]
        words.append(f"{again.sum()} duplicate texts dropped")
    return table, "".join(f", {each}" for each in words)


def class_labels(where: str, labels: pd.Series) -> list[str | None]:
    """Labels as class names, spelled as in the file; None for a missing one.

    Whole numbers have no fraction, which tables add where labels are missing: 1 for 1.0. But for
    blanks around it nothing else is changed, so 01 is another name than 1; a file with both is
    refused.

    Raises:
        UserError: one is of a wrong kind; all are numbers and one of them is not whole; or two
            spell one number in two ways.
    """
    for row, label in labels.items():
        if not (is_missing(label) or _can_be_named(label)):
            raise UserError(
                f"{where}: row {row} has label {repr(label)[:SHOWN]}, expected text or a whole "
                "number"
            )
    spelled = [None if is_missing(label) else _spelt(label) for label in labels]
    rows: dict[str, Any] = {}  # the first of each spelling
    for row, name in zip(labels.index, spelled, strict=True):
        if name is not None:
            rows.setdefault(name, row)
    numbers = {name: _spelled_number(name) for name in rows}
    if None in numbers.values():
        return spelled
    first: dict[Decimal | None, str] = {}
    for name, number in numbers.items():
        if not WHOLE.fullmatch(name):
            raise UserError(
                f"{where}: row {rows[name]} has label {name[:SHOWN]!r}, expected names or whole "
                "numbers: classes, not quantities, for which there is task.problem=regression"
            )
        if (other := first.setdefault(number, name)) != name:
            raise UserError(
                f"{where}: row {rows[name]} has label {name[:SHOWN]!r} and row {rows[other]} "
                f"{other[:SHOWN]!r}, the same number spelled in two ways; spell each "
                "class in one way"
            )
    return [None if name is None else name.partition(".")[0] for name in spelled]


def number_labels(where: str, labels: pd.Series) -> list[float | None]:
    """Labels as numbers in float32 precision; None for a missing one.

    Raises:
        UserError: one is not a finite number; calls it by the series' name.
    """
    numbers: list[float | None] = []
    for row, label in labels.items():
        number = None if is_missing(label) else _number(label)
        if number is not None and not math.isfinite(number):
            raise UserError(
                f"{where}: row {row} has {labels.name} {str(label)[:SHOWN]!r}, expected a finite "
                "number"
            )
        numbers.append(number)
    return numbers


def _without(
    where: str, table: pd.DataFrame, bad: pd.Series, kind: str, what: str, drop: Collection[str]
) -> tuple[pd.DataFrame, list[str]]:
    """The table without bad rows; a UserError if there are some that the settings do not drop."""
    if not bad.any():
        return table, []
    if kind not in drop:
        first = table.index[int(bad.to_numpy().argmax())]
        raise UserError(
            f"{where}: row {first} has {what} ({bad.sum()} such rows); fix it, or drop such rows "
            f"with task.drop=[{kind}]"
        )
    return table[~bad], [f"{bad.sum()} rows with {what} dropped"]


def check_fields(where: str, fields: pd.Series) -> None:
    """Raises a UserError if a field is neither text nor missing."""
    for row, field in fields.items():
        if not (is_missing(field) or isinstance(field, str)):
            raise UserError(f"{where}: row {row} has text {repr(field)[:SHOWN]}, expected text")
        if isinstance(field, str) and not is_unicode(field):
            raise UserError(
                f"{where}: row {row} has text with half of a surrogate pair, not a character"
            )


def _can_be_named(label: Any) -> bool:
    """Whether a label is text, a boolean, or a finite number."""
    if isinstance(label, str):
        return is_unicode(label)
    return isinstance(label, int) or (isinstance(label, float) and math.isfinite(label))


def _spelt(label: Any) -> str:
    """A label as text; a number from a typed file has one canonical spelling."""
    if isinstance(label, bool):
        return str(label).lower()
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    return str(label).strip()


def _spelled_number(name: str) -> Decimal | None:
    """The finite number that a name spells, computed without expanding long exponents."""
    try:
        number = Decimal(name)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _number(label: Any) -> float:
    """A label in float32 precision; NaN for anything else."""
    if isinstance(label, bool) or "_" in str(label):
        return math.nan  # Python takes true for 1 and 1_000 for a thousand
    try:
        return Tensor([float(label)]).item()
    except (TypeError, ValueError, OverflowError):
        return math.nan


def is_missing(field: Any) -> bool:
    """Whether a value is missing: None, the NaN that tables write for it, or blank text."""
    if isinstance(field, str):
        return not field.strip()
    return field is None or (isinstance(field, float) and field != field)
