"""From what a user's files hold to rows of known classes: counted, dropped if asked, or refused."""

from __future__ import annotations

import types
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import pandas as pd

from compress.settings import UserError
from compress.task.sampling import LABEL
from compress.task.text import text_columns

EMPTY, UNLABELLED, DUPLICATES = DROPPABLE = ("empty", "unlabelled", "duplicates")
SHOWN = 40  # characters of what was got


def cleaned(where: str, table: pd.DataFrame, drop: Collection[str]) -> tuple[pd.DataFrame, str]:
    """The rows with texts as text and labels as names, and what was done to them, in words.

    Args:
        where: names the file in errors.
        table: the columns `text`, `second` if there is one, and `label`; the index counts rows.
        drop: which of `DROPPABLE` are left out, where they would otherwise be refused (empty
            texts, missing labels) or kept (texts that stand there before).

    Raises:
        UserError: a row has no text or no label and is not to be dropped, or a text or a label is
            of a wrong kind.
    """
    texts = text_columns(table)
    for column in texts:
        _check_kinds(where, table[column], "text", str)
    _check_kinds(where, table[LABEL], "label", str | int | float)
    table = table.assign(label=_names(where, table[LABEL]))
    blank = table[texts].map(lambda text: _missing(text) or not text.strip()).any(axis="columns")
    table, words = _without(where, table, blank, EMPTY, "an empty text", drop)
    table, more = _without(where, table, table[LABEL] == "", UNLABELLED, "no label", drop)
    words += more
    labels = table.groupby(texts, sort=False)[LABEL].nunique()
    if conflicts := int((labels > 1).sum()):
        words.append(f"{conflicts} texts under more than one label")
    again = table.duplicated(texts)
    if DUPLICATES in drop and again.any():
        table = table[~again]
        words.append(f"{again.sum()} duplicate texts dropped")
    return table, "".join(f", {each}" for each in words)


def sorted_classes(names: Collection[str]) -> tuple[str, ...]:
    """Names in order: as numbers if all of them are, else as text."""
    try:
        return tuple(sorted(names, key=int))
    except ValueError:
        return tuple(sorted(names))


def with_indices(where: str, table: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """The rows with class indices for labels.

    Raises:
        UserError: a label is none of the classes.
    """
    for row, name in table[LABEL].items():
        if name not in classes:
            raise UserError(
                f"{where}: row {row} has label {name[:SHOWN]!r}, which no train row has; expected "
                f"{', '.join(classes)[:200]}"
            )
    return table.assign(label=table[LABEL].map(list(classes).index).astype(int))


def without_shared(
    splits: Mapping[str, pd.DataFrame],
) -> tuple[dict[str, pd.DataFrame], str]:
    """Splits of which no text stands in two, and how many rows that took, in words.

    Args:
        splits: those that come first keep their rows.
    """
    kept: dict[str, pd.DataFrame] = {}
    seen: set[tuple[str, ...]] = set()
    words = ""
    for role, table in splits.items():
        texts = list(table[text_columns(table)].itertuples(index=False, name=None))
        kept[role] = table.loc[[text not in seen for text in texts]]
        seen.update(texts)
        if lost := len(table) - len(kept[role]):
            words += f"; {lost} rows dropped from {role} whose texts are in other splits"
    return kept, words


def _without(
    where: str, table: pd.DataFrame, bad: pd.Series, kind: str, what: str, drop: Collection[str]
) -> tuple[pd.DataFrame, list[str]]:
    """The table without bad rows if these are to be dropped.

    Raises:
        UserError: there are some, and they are not.
    """
    if not bad.any():
        return table, []
    if kind not in drop:
        first = table.index[int(bad.to_numpy().argmax())]
        raise UserError(
            f"{where}: row {first} has {what} ({bad.sum()} such rows); mend it, or leave such rows "
            f"out with task.drop=[{kind}]"
        )
    return table[~bad], [f"{bad.sum()} rows with {what} dropped"]


def _check_kinds(where: str, fields: pd.Series, what: str, kind: type | types.UnionType) -> None:
    expected = "text" if kind is str else "text or a whole number"
    for row, field in fields.items():
        if not (_missing(field) or isinstance(field, kind)):
            got = repr(field)[:SHOWN]
            raise UserError(f"{where}: row {row} has {what} {got}, expected {expected}")


def _names(where: str, labels: pd.Series) -> list[str]:
    """Labels as text; "" for a missing one. Whole numbers are written without a fraction.

    Raises:
        UserError: all labels are numbers, and one of them is not whole.
    """
    names = [_name(label) for label in labels]
    numbers = {name: _number(name) for name in set(names) - {""}}
    whole = {"": ""}
    for name, number in numbers.items():
        if number is None:
            return names
        whole[name] = f"{number.to_integral_value():f}"
    for row, name in zip(labels.index, names, strict=True):
        number = numbers.get(name)
        if number is not None and number != number.to_integral_value():
            raise UserError(
                f"{where}: row {row} has label {name[:SHOWN]!r}, expected names or whole "
                "numbers: classes, not quantities"
            )
    return [whole[name] for name in names]


def _name(label: Any) -> str:
    if isinstance(label, bool):
        return str(label).lower()
    return "" if _missing(label) else str(label).strip()


def _number(name: str) -> Decimal | None:
    try:
        number = Decimal(name)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _missing(field: Any) -> bool:
    """Whether there is nothing: an absent value, or the NaN that tables write for one."""
    return field is None or (isinstance(field, float) and field != field)
