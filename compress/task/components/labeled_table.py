"""Labeled texts in a table: one or two text columns, and labels of any kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError, UserError
from compress.config.fields import OneOf
from compress.interfaces import TaskData
from compress.task.components.cleaning import DROPPABLE, cleaned
from compress.task.components.folds import FoldedTask
from compress.task.components.labels import Answers, Classes, Labels, Numbers
from compress.task.components.leaks import without_shared
from compress.task.components.sampling import LABEL, stratified_sample
from compress.task.components.splits import FoldedSplit
from compress.task.components.text import SECOND, TEXT, text_columns
from compress.task.components.text_task import TextTask
from compress.task.components.weights import Weights, check_weights

PROBLEMS = CLASSIFICATION, REGRESSION, MULTI_LABEL = "classification", "regression", "multi_label"
HELD_OUT = ("evaluation", "validation")  # of texts in both, the first keeps them


@dataclass(frozen=True, kw_only=True)
class LabeledTable(FoldedTask, TextTask, ABC):
    """Labeled texts from one source, or from one for each split.

    Its classes are the labels of the main source: in numerical order if all are whole numbers, else
    in that of text. Rows of one text are in one fold.

    Attributes:
        text: the column of the texts, or the two columns of pairs.
        label: the column of the labels; or two or more columns, one for each label, with 0 or 1,
            false or true, no or yes.
        problem: the kind of labels: "classification", "regression" of one column of numbers,
            or "multi_label" of several columns; null for "multi_label" with several columns, else
            "classification".
        class_weights: weights of the classes in the loss on labels: "balanced" for equal total
            weights on the train rows, a list in the order of the classes, or a mapping by class.
            With several labels, the weight of rows with the label relative to the others.
        drop: rows to drop and count: "empty", "unlabeled", "duplicates".
        split: the rows for validation and evaluation.
    """

    text: str | tuple[str, ...]
    label: str | tuple[str, ...]
    problem: Annotated[str, OneOf(PROBLEMS)] | None
    class_weights: Weights
    drop: tuple[Annotated[str, OneOf(DROPPABLE)], ...]
    split: FoldedSplit

    @property
    @abstractmethod
    def source(self) -> str:
        """The main source, which train rows and rows of splits without one are of."""

    @property
    @abstractmethod
    def sources(self) -> Mapping[str, str]:
        """The sources of the splits that have their own, by role: evaluation, validation."""

    @abstractmethod
    def read_source(self, source: str, columns: tuple[str, ...]) -> tuple[pd.DataFrame, str]:
        """These columns of a source, with rows counted from 1, and how it was read, in words."""

    @abstractmethod
    def shown(self, source: str) -> str:
        """A source in a split's name."""

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        columns = self.columns
        if len(set(self._answers)) < len(self._answers):
            raise ConfigError(
                f"{self._name}.label must name each column once, got {', '.join(self._answers)}"
            )
        if not 1 <= len(self._texts) <= 2 or len(set(columns)) < len(columns):
            raise ConfigError(
                f"{self._name}.text must be one or two columns other than those of the labels, got "
                f"{', '.join(self._texts) or 'none'} beside {', '.join(self._answers) or 'none'}"
            )
        self._check_problem()

    def _check_problem(self) -> None:
        several = not isinstance(self.label, str)
        if self.problem is not None and several != (self.problem == MULTI_LABEL):
            expected = "two or more columns" if self.problem == MULTI_LABEL else "one column"
            raise ConfigError(
                f"{self._name}.label must be {expected} for problem={self.problem}, got "
                f"{', '.join(self._answers) or 'none'}"
            )
        if several and len(self._answers) < 2:
            raise ConfigError(
                f"{self._name}.label must be one column by its name, or a list of two or more, got "
                f"a list of {len(self._answers)}"
            )
        check_weights(f"{self._name}.class_weights", self.class_weights)
        if self.problem == REGRESSION and self.class_weights is not None:
            raise ConfigError(
                f"{self._name}.class_weights must be null for problem={REGRESSION}, which has no "
                f"classes, got {self.class_weights}"
            )

    @property
    def _texts(self) -> tuple[str, ...]:
        return (self.text,) if isinstance(self.text, str) else self.text

    @property
    def _answers(self) -> tuple[str, ...]:
        return (self.label,) if isinstance(self.label, str) else self.label

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of texts and labels."""
        return (*self._texts, *self._answers)

    @property
    def _name(self) -> str:
        return type(self).__name__

    @property
    def _labels(self) -> Labels:
        if not isinstance(self.label, str):
            return Answers(self.label, self.class_weights)
        if self.problem == REGRESSION:
            return Numbers(self.label)
        return Classes(self.class_weights)

    def scores(self) -> tuple[str, ...]:
        """Metrics of the problem."""
        return self._labels.scores()

    def smooths_labels(self) -> bool:
        """Label smoothing is available except for numeric labels."""
        return self.problem != REGRESSION

    @property
    def texts_per_row(self) -> int:
        """1, or 2 for text pairs."""
        return len(self._texts)

    def load(self) -> TaskData:
        """Reads the rows, determines the classes, and splits off the splits without a source."""
        labels = self._labels
        rows, words = self._read(self.source)
        names = labels.names(self.source, rows)
        sources = [words]
        given = {}
        for role, path in self.sources.items():
            table, words = self._read(path)
            given[role] = (self.shown(path), labels.encoded(path, table, names))
            sources.append(words)
        shares = {role: at for role, at in self.split.shares.items() if role not in given}
        rows = labels.encoded(self.source, rows, names)
        classes = names if isinstance(labels, Classes) else ()
        texts = rows.groupby(text_columns(rows), sort=False).ngroup().to_numpy()
        whole = self.shown(self.source)
        named = {**given, **self.split_off(self.source, whole, rows, shares, classes, texts)}
        # Before the classes and their weights are looked at, which are those of the rows left.
        splits, words = without_shared({role: named[role][1] for role in (*HELD_OUT, "train")})
        self._check_rows(splits, classes)
        train = stratified_sample(splits["train"], self.limit, self.seed)
        problem, more = labels.problem(self.source, {**splits, "train": train}, names)
        named = {role: (named[role][0], part) for role, part in splits.items()}
        return self.assemble(named, problem, "; ".join(sources) + words + more)

    def _read(self, source: str) -> tuple[pd.DataFrame, str]:
        """The clean rows of a source, and a description of them."""
        found, how = self.read_source(source, self.columns)
        table = found[list(self._texts)]
        table = table.set_axis([TEXT, SECOND][: len(self._texts)], axis="columns")
        labels = self._labels.read(source, found[list(self._answers)])
        table[LABEL] = pd.Series(labels, index=table.index)
        rows, words = cleaned(source, table, self.drop)
        if rows.empty:
            raise UserError(f"{source}: no row is left of {len(table)}{words}")
        return rows, f"{self.shown(source)} ({how}; {len(table)} rows{words})"

    def _check_rows(self, splits: Mapping[str, pd.DataFrame], classes: tuple[str, ...]) -> None:
        """Raises a UserError if a split has no rows, or one of the main source lacks a class."""
        for role, rows in splits.items():
            if rows.empty:
                raise UserError(
                    f"{self.sources.get(role, self.source)}: no row is left of the {role} split, "
                    "all of its texts are in other splits"
                )
            if not classes or role in self.sources:
                continue
            counts = np.bincount(rows[LABEL], minlength=len(classes))
            if counts.min() == 0:
                raise UserError(
                    f"{self.source}: the {role} split of {len(rows)} rows has none of class "
                    f"{classes[int(counts.argmin())]!r}; give more rows of it, or larger fractions"
                )
