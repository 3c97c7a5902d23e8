"""Labelled texts: splits, samples and encoding, shared by every text classification task."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from compress.interfaces import Split, TaskData, TrainingData
from compress.settings import UserError

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import Tensor

    from compress.interfaces import Processor

TEXT, LABEL = "text", "label"


class TextSplit(Split):
    """Rows of one text and one class index each."""

    def __init__(self, name: str, rows: pd.DataFrame, max_length: int) -> None:
        """Takes the columns `text` and `label`; texts are cut to `max_length` tokens."""
        self.name = name
        self.texts: list[str] = rows[TEXT].tolist()
        self._labels: list[int] = rows[LABEL].tolist()
        self._max_length = max_length
        content = hashlib.sha256(str(max_length).encode())
        for text, label in zip(self.texts, self._labels, strict=True):
            content.update(f"{label}\x1f{text}\x1e".encode())
        self.digest = content.hexdigest()[:16]

    @property
    def labels(self) -> Sequence[int]:
        """The class index of each row."""
        return self._labels

    def extended(self, name: str, texts: Sequence[str], labels: Sequence[int]) -> TextSplit:
        """These rows and then more, cut to the same length."""
        rows = {TEXT: [*self.texts, *texts], LABEL: [*self._labels, *labels]}
        return TextSplit(name, pd.DataFrame(rows), self._max_length)

    def encode(self, tokenizer: Processor) -> Dataset:
        """Token ids and what else the model takes, unpadded, with `length` in tokens."""
        from datasets import Dataset

        encoded = dict(tokenizer(self.texts, truncation=True, max_length=self._max_length))
        encoded["length"] = [len(ids) for ids in encoded["input_ids"]]
        return Dataset.from_dict(encoded)

    def collate(self, tokenizer: Processor, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """One batch, padded to its longest row."""
        return dict(tokenizer.pad(list(rows), return_tensors="pt"))


def build_task_data(
    splits: dict[str, tuple[str, pd.DataFrame]],
    *,
    class_names: tuple[str, ...],
    source: str,
    max_length: int,
    limit: int | None,
    seed: int,
    calibration_samples: int,
) -> TaskData:
    """Samples each split to `limit` rows and draws the calibration rows from train.

    Args:
        splits: name in words and rows of "train", "validation" and "evaluation".
        class_names: in the order of the class indices.
        source: where the rows came from, in one sentence.
        max_length: in tokens.
        limit: the most rows of each split, drawn with the classes' shares kept; None for all.
        seed: of every draw.
        calibration_samples: rows of train that pruners and quantizers may look at.
    """
    made = {}
    for role, (name, rows) in splits.items():
        sampled = stratified_sample(rows, limit, seed)
        words = name if len(sampled) == len(rows) else f"{len(sampled)} rows of {name}"
        made[role] = (words, sampled)
    name, train = made["train"]
    calibration = stratified_sample(train, min(calibration_samples, len(train)), seed)
    made["calibration"] = (f"{len(calibration)} rows of {name}", calibration)
    parts = {role: TextSplit(*pair, max_length) for role, pair in made.items()}
    evaluation = parts.pop("evaluation")
    training = TrainingData(class_names=class_names, **parts)
    return TaskData(training=training, evaluation=evaluation, source=source)


def stratified_sample(rows: pd.DataFrame, limit: int | None, seed: int) -> pd.DataFrame:
    """At most `limit` rows, each class in its share of the whole; all rows for None.

    Raises:
        UserError: the limit is below the number of classes.
    """
    if limit is None or limit >= len(rows):
        return rows
    if limit < rows[LABEL].nunique():
        raise UserError(f"limit must be at least the {rows[LABEL].nunique()} classes, got {limit}")
    return split_off(rows, limit, seed)[1]


def split_off(
    rows: pd.DataFrame, size: int | float, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cuts a stratified part of `size` (a count, or a fraction) off; returns (rest, part)."""
    from sklearn.model_selection import train_test_split

    rest, part = train_test_split(rows, test_size=size, stratify=rows[LABEL], random_state=seed)
    return rest, part


def drop_duplicate_texts(rows: pd.DataFrame) -> pd.DataFrame:
    """Keeps the first of equal texts, so that none can stand in two splits."""
    return rows.drop_duplicates(TEXT, ignore_index=True)


def check_rows(where: str, rows: pd.DataFrame, allowed: Sequence[str]) -> None:
    """Checks that every row has a text, and a label among the allowed ones.

    Raises:
        UserError: a row has not; says which.
    """
    empty = rows.index[rows[TEXT].isna() | (rows[TEXT].astype(str).str.strip() == "")]
    if len(empty):
        raise UserError(f"{where}: row {empty[0] + 1} has no text ({len(empty)} such rows)")
    wrong = rows.index[~rows[LABEL].isin(allowed)]
    if len(wrong):
        got = rows[LABEL].loc[wrong[0]]
        choices = ", ".join(allowed)
        raise UserError(f"{where}: row {wrong[0] + 1} has label {got!r}, allowed: {choices}")
