"""Label columns of a user's rows: classes, a number, or several binary labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, final

import numpy as np
import pandas as pd
from jaxtyping import Int

from compress.config.errors import UserError
from compress.core.problem import Problem
from compress.problem.classification import Classification
from compress.problem.multi_label import SCORES_OF_LABELS, WITH_WEIGHTS, MultiLabel
from compress.problem.regression import SCORES_OF_NUMBERS, Regression
from compress.task.components.cleaning import (
    SHOWN,
    WHOLE,
    class_labels,
    is_missing,
    number_labels,
)
from compress.task.components.delimited import listed
from compress.task.components.sampling import LABEL
from compress.task.components.weights import BALANCED, Weights, class_weights, weights_words

ANSWERS = {"0": 0, "1": 1, "false": 0, "true": 1, "no": 0, "yes": 1}
OF_CLASSES = ("accuracy", "f1_macro")


class Labels(ABC):
    """Base of the label kinds: how labels are read, and the problem they define."""

    @abstractmethod
    def scores(self) -> tuple[str, ...]:
        """What rows with such labels are evaluated by; see `Task.scores`."""

    @abstractmethod
    def read(self, where: str, columns: pd.DataFrame) -> list[Any]:
        """The label of each row of a file; None if missing.

        Raises:
            UserError: a row has something else; says which row.
        """

    @abstractmethod
    def names(self, where: str, rows: pd.DataFrame) -> tuple[str, ...]:
        """Names of the model's outputs, from all rows that splits may be cut from.

        Raises:
            UserError: there is nothing to be learned.
        """

    def encoded(self, where: str, rows: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
        """Rows with labels encoded for a tensor; by default those that were read.

        Raises:
            UserError: a label is none of the names.
        """
        return rows

    @abstractmethod
    def problem(
        self, where: str, splits: Mapping[str, pd.DataFrame], names: tuple[str, ...]
    ) -> tuple[Problem, str]:
        """The problem, and a note for the record, from encoded splits that are not empty.

        Raises:
            UserError: the train rows cannot serve, or weights are of other classes.
        """


@final
@dataclass(frozen=True)
class Classes(Labels):
    """One class name for each row; sorted numerically if all are integers."""

    weights: Weights

    def scores(self) -> tuple[str, ...]:
        """Accuracy and macro F1."""
        return OF_CLASSES

    def read(self, where: str, columns: pd.DataFrame) -> list[Any]:
        """Labels as class names."""
        return class_labels(where, columns.iloc[:, 0])

    def names(self, where: str, rows: pd.DataFrame) -> tuple[str, ...]:
        """The sorted class names."""
        found = set(rows[LABEL])
        if len(found) < 2:
            raise UserError(
                f"{where}: all {len(rows)} rows have label {found.pop()[:SHOWN]!r}, expected at "
                "least two classes"
            )
        if all(WHOLE.fullmatch(name) for name in found):
            return tuple(sorted(found, key=Decimal))  # int() takes no more than 4,300 digits
        return tuple(sorted(found))

    def encoded(self, where: str, rows: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
        """Rows with class indices as labels."""
        places = {name: place for place, name in enumerate(names)}
        for row, name in rows[LABEL].items():
            if name not in places:
                raise UserError(
                    f"{where}: row {row} has label {name[:SHOWN]!r}, which no train row has; "
                    f"expected {listed(names)}"
                )
        return rows.assign(label=rows[LABEL].map(places).astype(int))

    def problem(
        self, where: str, splits: Mapping[str, pd.DataFrame], names: tuple[str, ...]
    ) -> tuple[Problem, str]:
        """The classification problem; balanced weights are scikit-learn's: n / (k · n_class)."""
        # compute_class_weight of scikit-learn fails where a class has no row.
        counts = np.bincount(splits["train"][LABEL], minlength=len(names))
        if self.weights == BALANCED and counts.min() == 0:
            raise UserError(
                f"{where}: class {names[int(counts.argmin())]!r} has no row in the train split of "
                f"{counts.sum()}, which task.class_weights={BALANCED} needs"
            )
        balanced = counts.sum() / (len(names) * counts.clip(min=1))
        weights = class_weights(self.weights, names, balanced)
        words = weights_words(self.weights, names, weights)
        return Classification(names, OF_CLASSES[1:], weights), words


@final
@dataclass(frozen=True)
class Numbers(Labels):
    """A number in `column` for each row."""

    column: str

    def scores(self) -> tuple[str, ...]:
        """Correlations and RMSE."""
        return SCORES_OF_NUMBERS

    def read(self, where: str, columns: pd.DataFrame) -> list[Any]:
        """Labels as finite numbers."""
        return number_labels(where, columns.iloc[:, 0])

    def names(self, where: str, rows: pd.DataFrame) -> tuple[str, ...]:
        """The name of the column."""
        if rows[LABEL].nunique() < 2:
            raise UserError(
                f"{where}: all {len(rows)} rows have {self.column} {rows[LABEL].iloc[0]:g}, "
                "expected different numbers"
            )
        return (self.column,)

    def problem(
        self, where: str, splits: Mapping[str, pd.DataFrame], names: tuple[str, ...]
    ) -> tuple[Problem, str]:
        """Regression."""
        return Regression(names[0]), ""


@final
@dataclass(frozen=True)
class Answers(Labels):
    """Several binary labels for each row: 0 or 1, false or true, no or yes in each column.

    Attributes:
        weights: of each label's positive rows in the loss.
    """

    columns: tuple[str, ...]
    weights: Weights

    def scores(self) -> tuple[str, ...]:
        """F1 averages, subset accuracy and Hamming loss."""
        return (*SCORES_OF_LABELS, *([] if self.weights is None else [WITH_WEIGHTS]))

    def read(self, where: str, columns: pd.DataFrame) -> list[Any]:
        """For each row, 0 or 1 for each label."""
        return [self._row(where, *row) for row in columns.itertuples(name=None)]

    def _row(self, where: str, number: int, *fields: Any) -> tuple[int, ...] | None:
        if any(is_missing(field) for field in fields):
            return None
        for column, field in zip(self.columns, fields, strict=True):
            if _word(field) not in ANSWERS:
                raise UserError(
                    f"{where}: row {number} has {column} {str(field)[:SHOWN]!r}, expected one of "
                    f"{', '.join(ANSWERS)}"
                )
        return tuple(ANSWERS[_word(field)] for field in fields)

    def names(self, where: str, rows: pd.DataFrame) -> tuple[str, ...]:
        """The names of the label columns."""
        return self.columns

    def problem(
        self, where: str, splits: Mapping[str, pd.DataFrame], names: tuple[str, ...]
    ) -> tuple[Problem, str]:
        """The multi-label problem; a balanced weight is n_negative / n_positive of a label."""
        held = {role: _held(rows) for role, rows in splits.items()}
        train, whole = held["train"], len(splits["train"])
        for name, count in zip(names, train.tolist(), strict=True):
            if count in (0, whole):
                whose = "none" if count == 0 else "all"
                raise UserError(
                    f"{where}: {whose} of the {whole} train rows have label {name!r}, expected "
                    "some with it and some without"
                )
        weights = class_weights(self.weights, names, (whole - train) / train)
        unseen = (
            f"; no {role} row has label {name!r}, whose F1 there is 0"
            for role, counts in held.items()
            for name, count in zip(names, counts.tolist(), strict=True)
            if count == 0
        )
        words = weights_words(self.weights, names, weights) + "".join(unseen)
        return MultiLabel(names, weights), words


def _word(field: Any) -> str:
    """An answer as text; tables store integers as 1.0 if other values are missing."""
    text = str(field).strip().lower()
    return text.removesuffix(".0") if isinstance(field, float) else text


def _held(rows: pd.DataFrame) -> Int[np.ndarray, " labels"]:
    found: np.ndarray = np.array(rows[LABEL].tolist()).sum(axis=0)
    return found
