"""Rows of texts or text pairs: their encoding."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from jaxtyping import Shaped
from torch import Tensor

from compress.config.errors import UserError
from compress.interfaces import Split
from compress.task.components.sampling import LABEL

if TYPE_CHECKING:
    from datasets import Dataset

    from compress.interfaces import Processor

TEXT, SECOND = "text", "second"
CHUNK = 10_000  # rows encoded at once: what a tokenizer returns takes far more memory than ids


class TextSplit(Split):
    """Rows of one text or a text pair, with or without labels.

    Attributes:
        columns: the texts of all rows; where these are pairs, the first ones and the second ones.
        max_length: tokens to which rows are truncated.
    """

    columns: list[list[str]]
    max_length: int

    def __init__(self, name: str, rows: pd.DataFrame, max_length: int) -> None:
        """Takes the columns `text`, `second` if there is one, and `label` if rows have one.

        Rows are truncated to `max_length` tokens, the longer text of a pair first.
        """
        self.name = name
        self.columns = [rows[column].tolist() for column in text_columns(rows)]
        labels: list[Any] | None = rows[LABEL].tolist() if LABEL in rows else None
        self._labels = None if labels is None else torch.tensor(labels)
        self.max_length = max_length
        content = hashlib.sha256(str(max_length).encode())
        for label, *texts in zip(labels or [""] * len(rows), *self.columns, strict=True):
            content.update(("\x1f".join([str(label), *texts]) + "\x1e").encode())
        self.digest = content.hexdigest()[:16]

    @property
    def labels(self) -> Shaped[Tensor, "rows ..."]:
        """The label of each row, such as a class index; only of rows that have labels."""
        assert self._labels is not None, f"the rows of {self.name} have no labels"
        return self._labels

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.columns[0])

    def extended(self, name: str, columns: Sequence[Sequence[str]]) -> TextSplit:
        """This split, then other texts of all its rows, once or several times, as in `columns`.

        They have the labels of their rows, and are truncated to the same length.
        """
        texts = zip((TEXT, SECOND), self.columns, columns, strict=False)
        rows: dict[str, Any] = {column: [*old, *new] for column, old, new in texts}
        if self._labels is not None:
            rows[LABEL] = self._labels.tolist() * (len(rows[TEXT]) // len(self))
        return TextSplit(name, pd.DataFrame(rows), self.max_length)

    def encode(self, tokenizer: Processor) -> Dataset:
        """Token ids and other model inputs, unpadded, with `length` in tokens."""
        from datasets import concatenate_datasets

        chunks = [self._encoded(tokenizer, start) for start in range(0, len(self), CHUNK)]
        return chunks[0] if len(chunks) == 1 else concatenate_datasets(chunks)

    def _encoded(self, tokenizer: Processor, start: int) -> Dataset:
        """The encoding of up to `CHUNK` rows."""
        from datasets import Dataset

        texts = [column[start : start + CHUNK] for column in self.columns]
        encoded = dict(tokenizer(*texts, truncation=True, max_length=self.max_length))
        encoded["length"] = [len(ids) for ids in encoded["input_ids"]]
        return Dataset.from_dict(encoded)

    def collate(self, tokenizer: Processor, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Pads rows to the longest and stacks them into one batch."""
        return dict(tokenizer.pad(list(rows), return_tensors="pt"))

    def truncated(self, tokenizer: Processor) -> float:
        """The share of rows that are truncated."""
        return truncated_share(tokenizer, self.columns, self.max_length)


def truncated_share(
    tokenizer: Processor, columns: Sequence[Sequence[str]], max_length: int
) -> float:
    """The share of rows, given as columns of texts, that have more tokens than `max_length`."""
    whole = tokenizer(*columns, truncation=False, verbose=False)["input_ids"]
    return sum(len(ids) > max_length for ids in whole) / len(whole)


def text_columns(rows: pd.DataFrame) -> list[str]:
    """The text columns: one, or two for text pairs."""
    return [column for column in (TEXT, SECOND) if column in rows]


def check_texts(where: str, rows: pd.DataFrame) -> None:
    """Raises a UserError that names the first row without a text."""
    for column in text_columns(rows):
        empty = rows.index[rows[column].isna() | (rows[column].astype(str).str.strip() == "")]
        if len(empty):
            raise UserError(f"{where}: row {empty[0] + 1} has no {column} ({len(empty)} such rows)")
