"""Stratified splits and samples, shared by every task and determined by the task's seed alone."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, final

import numpy as np
import pandas as pd
from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError, UserError, first_line
from compress.config.fields import PositiveInt, Seed
from compress.interfaces import Problem, Split, Task, TaskData, TrainingData
from compress.records.schema import TransferText
from compress.task.components.strata import strata
from compress.transformer.positions import position_count

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LABEL = "label"


@dataclass(frozen=True, kw_only=True)
class SampledTask(Task, ABC):
    """A task that can be limited to a sample of its rows.

    Attributes:
        limit: maximum number of rows of each split, a seeded stratified sample; null for all.
        seed: seed of the splits and samples; separate from the run's, so that runs with different
            seeds are evaluated on the same rows.
        calibration_samples: number of train rows for calibration.
    """

    limit: PositiveInt | None
    seed: Seed
    calibration_samples: PositiveInt

    @abstractmethod
    def make_split(self, role: str, name: str, rows: pd.DataFrame) -> Split:
        """A split of rows with a column `label`: class indices, numbers, or tuples of 0 and 1."""

    def separated(
        self, splits: Mapping[str, pd.DataFrame]
    ) -> tuple[Mapping[str, pd.DataFrame], str]:
        """The whole splits without rows in common, and what was dropped, in words."""
        return splits, ""

    def unlabeled(self, splits: Mapping[str, pd.DataFrame]) -> tuple[Split, TransferText] | None:
        """Rows without labels that are in none of the whole splits, and their description."""
        return None

    @final
    def assemble(
        self,
        splits: Mapping[str, tuple[str, pd.DataFrame]],
        problem: Problem,
        source: str,
    ) -> TaskData:
        """Samples each split to `limit` rows and draws the calibration rows from train.

        The splits are "train", "validation" and "evaluation", each a name in words and its rows.
        """
        whole, words = self.separated({role: rows for role, (_, rows) in splits.items()})
        unlabeled, transfer = self.unlabeled(whole) or (None, None)
        source += words
        made = {}
        for role, (name, _) in splits.items():
            rows = whole[role]
            sampled = stratified_sample(rows, self.limit, self.seed)
            words = name if len(sampled) == len(rows) else f"{len(sampled)} rows of {name}"
            made[role] = (words, sampled)
        name, train = made["train"]
        count = min(self.calibration_samples, len(train))
        calibration = stratified_sample(train, count, self.seed, "task.calibration_samples")
        made["calibration"] = (f"{len(calibration)} rows of {name}", calibration)
        parts = {role: self.make_split(role, *pair) for role, pair in made.items()}
        evaluation = parts.pop("evaluation")
        training = TrainingData(problem=problem, unlabeled=unlabeled, **parts)
        return TaskData(training, evaluation, source, transfer)


def check_reads(task: Task, model: PreTrainedModel, wanted: str) -> None:
    """Raises a ConfigError if a model's main input is not `wanted`: input_ids or pixel_values."""
    got = model.main_input_name
    if got != wanted:
        kinds = {"input_ids": "texts", "pixel_values": "images"}
        raise ConfigError(
            f"the task {type(task).__name__} has {kinds[wanted]}, but {type(model).__name__} reads "
            f"{kinds.get(got, got)}"
        )


def check_reads_tokens(task: Task, model: PreTrainedModel, **lengths: int | None) -> None:
    """Raises a ConfigError if a model does not read text, or not so many tokens of a setting."""
    check_reads(task, model, "input_ids")
    limit = position_count(model)
    for name, tokens in lengths.items():
        if limit is not None and tokens is not None and tokens > limit:
            raise ConfigError(
                f"task.{name} must be at most the {limit} tokens that {type(model).__name__} "
                f"takes, got {tokens}"
            )


def stratified_sample(
    rows: pd.DataFrame, limit: int | None, seed: int, setting: str = "task.limit"
) -> pd.DataFrame:
    """A stratified sample of at most `limit` rows; all rows for None.

    Rows without classes are in the shares of their `strata`.

    Raises:
        UserError: the limit is below the number of classes; names the `setting`.
    """
    if limit is None or limit >= len(rows):
        return rows
    if pd.api.types.is_integer_dtype(rows[LABEL]):
        classes = rows[LABEL].nunique()
        if limit < classes:
            raise UserError(f"{setting} must be at least the {classes} classes, got {limit}")
        if len(rows) - limit < classes:
            # Too few would be left over to stratify; nearly all rows have the right shares anyway.
            return rows.sample(limit, random_state=seed)
    return split_off(rows, limit, seed)[1]


def split_off(
    rows: pd.DataFrame, size: int | float, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Splits off a stratified part of `size` (a count or a fraction); returns (rest, part).

    Raises:
        UserError: there are too few rows, of all or of one class, to have some in both.
    """
    from sklearn.model_selection import train_test_split

    # So many in a group are one in the smaller of the two parts.
    part_rows = size if isinstance(size, int) else math.ceil(size * len(rows))
    least = max(2, math.ceil(len(rows) / max(1, min(part_rows, len(rows) - part_rows))))
    groups = strata(rows[LABEL], least)
    try:
        rest, part = train_test_split(rows, test_size=size, stratify=groups, random_state=seed)
    except ValueError as error:
        raise UserError(f"{len(rows)} rows cannot be split: {first_line(error)}") from error
    return rest, part


def hold_out(
    where: str,
    rows: pd.DataFrame,
    shares: Mapping[str, float],
    class_names: Sequence[str],
    seed: int,
) -> dict[str, pd.DataFrame]:
    """Splits off stratified parts, one after the other; see `strata`. The rest is "train".

    Args:
        where: names the rows in errors.
        rows: with labels.
        shares: of all the rows, by the split's name.
        class_names: none where rows have no classes.
        seed: of the draws.

    Raises:
        UserError: a class has too few rows to be in every split.
    """
    splits = {}
    rest = rows
    for role, share in shares.items():
        size = math.ceil(share * len(rows))
        words = f"{where}: {len(rows)} rows are too few to hold out {share:.0%} of them for {role}"
        if class_names:
            _check_counts(words, rest, size, class_names)
        elif size >= len(rest):
            raise UserError(words)
        rest, splits[role] = split_off(rest, size, seed)
    return {**splits, "train": rest}


def _check_counts(words: str, rows: pd.DataFrame, size: int, class_names: Sequence[str]) -> None:
    """Raises a UserError if rows cannot be split with each class on both sides."""
    counts = np.bincount(rows[LABEL], minlength=len(class_names))
    if counts.min() < 2 or min(size, len(rows) - size) < len(class_names):
        raise UserError(
            f"{words} with each of {len(class_names)} classes in it: {counts.min()} of "
            f"{class_names[int(counts.argmin())]!r}"
        )
