"""Cross-validation: every row of a file is evaluated, each by a model that was made without it.

Stratified, after Kohavi, "A study of cross-validation and bootstrap for accuracy estimation and
model selection", IJCAI 1995. Rows that must not be parted, such as those of one text, are one unit.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Self

import numpy as np
import pandas as pd
from jaxtyping import Int
from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError, UserError
from compress.task.components.sampling import LABEL, SampledTask, hold_out
from compress.task.components.splits import Folds
from compress.task.components.strata import strata

Numbers = Int[np.ndarray, " rows"]


@dataclass(frozen=True, kw_only=True)
class FoldedTask(SampledTask, ABC):
    """A task that splits evaluation rows off its own rows, once or fold by fold.

    Attributes:
        split: the folds, and which rows are held out.
    """

    split: Folds

    def each_fold(self) -> tuple[Self, ...]:
        """The task with each fold; the task itself if it has no folds or a selected one."""
        split = self.split
        if split.folds is None or split.fold is not None:
            return (self,)
        numbers = range(1, split.folds + 1)
        return tuple(replace(self, split=replace(split, fold=number)) for number in numbers)

    def split_off(
        self,
        where: str,
        whole: str,
        rows: pd.DataFrame,
        shares: Mapping[str, float],
        class_names: Sequence[str],
        units: Numbers | None = None,
    ) -> dict[str, tuple[str, pd.DataFrame]]:
        """Splits off the held-out rows; the rest is "train". With each split a name in words.

        Args:
            where: names the rows in errors.
            whole: names the rows in the splits' names.
            rows: with labels.
            shares: by the split's name, of all the rows; where there are folds, of those outside
                the fold, and that of evaluation plays no part.
            class_names: none where rows have no classes.
            units: rows with equal numbers stay in one fold; None for each row by itself.

        Raises:
            UserError: a class has too few rows to be in every split.
        """
        if self.split.folds is None:
            splits = hold_out(where, rows, shares, class_names, self.seed)
        else:
            splits = self._split_fold(where, rows, shares, class_names, units)
        names = {role: self._words(role, share, whole) for role, share in shares.items()}
        names["train"] = f"rest of {whole}" if shares else whole
        return {role: (names[role], part) for role, part in splits.items()}

    def _split_fold(
        self,
        where: str,
        rows: pd.DataFrame,
        shares: Mapping[str, float],
        class_names: Sequence[str],
        units: Numbers | None,
    ) -> dict[str, pd.DataFrame]:
        folds, fold = self.split.folds, self.split.fold
        assert folds is not None
        if fold is None:
            raise ConfigError(
                f"only runs take all folds of task.split.folds={folds}; select one, such as "
                "task.split.fold=1"
            )
        labels = strata(rows[LABEL], folds)
        units = np.arange(len(rows)) if units is None else units
        numbers = deal(labels, units, folds, self.seed)
        _check(where, labels, units, numbers, class_names, folds)
        inside = numbers == fold
        others = {role: share for role, share in shares.items() if role != "evaluation"}
        outside = f"{where} without fold {fold}"
        rest = hold_out(outside, rows[~inside], others, class_names, self.seed)
        return {"evaluation": rows[inside], **rest}

    def _words(self, role: str, share: float, whole: str) -> str:
        if self.split.fold is None:
            return f"{share:.0%} of {whole}, seed {self.seed}"
        if role == "evaluation":
            numbers = f"{self.split.fold} of {self.split.folds}"
            return f"fold {numbers} of {whole}, seed {self.seed}"
        return f"{share:.0%} of the other folds of {whole}, seed {self.seed}"


def _check(
    where: str,
    labels: Numbers,
    units: Numbers,
    numbers: Numbers,
    class_names: Sequence[str],
    folds: int,
) -> None:
    """Raises a UserError if a fold is without rows or without a class."""
    for label, name in enumerate(class_names):
        of_class = labels == label
        if len(np.unique(numbers[of_class])) != folds:
            raise UserError(
                f"{where}: {len(np.unique(units[of_class]))} different rows of class {name!r} "
                f"are too few to have some in each of {folds} folds"
            )
    if (found := len(np.unique(units))) < folds:
        raise UserError(f"{where}: {found} different rows are too few for {folds} folds")


def deal(labels: Numbers, units: Numbers, folds: int, seed: int) -> Numbers:
    """The stratified fold of each row, from 1.

    Each unit goes to the fold with the fewest rows of its most frequent class, of equal ones to
    that with the fewest rows: class by class, large units first, equally large ones in the seed's
    order. Where units are single rows, neither folds nor their shares of a class differ by more
    than one row. scikit-learn's StratifiedGroupKFold deals other rows to a seed's folds, and
    published figures are of these. Labels are `strata`; units are equal where rows stay together.
    """
    places = np.unique(units, return_inverse=True)[1]
    counts = np.zeros((places.max() + 1, labels.max() + 1), dtype=np.int64)
    np.add.at(counts, (places, labels), 1)
    classes, sizes = counts.argmax(axis=1), counts.sum(axis=1)
    shuffled = np.random.default_rng(seed).permutation(len(counts))
    # Lexsort's last key counts first, here and below; equal ones stay as they are.
    order = shuffled[np.lexsort((-sizes[shuffled], classes[shuffled]))]
    held = np.zeros((folds, counts.shape[1]), dtype=np.int64)
    fold_of = np.zeros(len(counts), dtype=np.int64)
    for unit in order:
        fold_of[unit] = np.lexsort((held.sum(axis=1), held[:, classes[unit]]))[0]
        held[fold_of[unit]] += counts[unit]
    return fold_of[places] + 1
