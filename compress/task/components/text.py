"""Labeled texts or text pairs: their encoding, shared by every text task."""

from __future__ import annotations

import hashlib
from abc import ABC
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

import pandas as pd
import torch
from jaxtyping import Shaped
from pydantic.dataclasses import dataclass
from torch import Tensor

from compress.config.errors import UserError
from compress.config.fields import PositiveInt
from compress.interfaces import Split
from compress.task.components.sampling import LABEL, SampledTask, check_reads_tokens

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

    from compress.interfaces import Processor

TEXT, SECOND = "text", "second"


class TextSplit(Split):
    """Labeled rows of one text or a text pair.

    Attributes:
        columns: the texts of all rows; where these are pairs, the first ones and the second ones.
        max_length: tokens to which rows are truncated.
    """

    columns: list[list[str]]
    max_length: int

    def __init__(self, name: str, rows: pd.DataFrame, max_length: int) -> None:
        """Takes the columns `text`, `second` if there is one, and `label`.

        Rows are truncated to `max_length` tokens, the longer text of a pair first.
        """
        self.name = name
        self.columns = [rows[column].tolist() for column in text_columns(rows)]
        labels: list[Any] = rows[LABEL].tolist()
        self._labels = torch.tensor(labels)
        self.max_length = max_length
        content = hashlib.sha256(str(max_length).encode())
        for label, *texts in zip(labels, *self.columns, strict=True):
            content.update(("\x1f".join([str(label), *texts]) + "\x1e").encode())
        self.digest = content.hexdigest()[:16]

    @property
    def labels(self) -> Shaped[Tensor, "rows ..."]:
        """The label of each row, such as a class index."""
        return self._labels

    def extended(
        self, name: str, columns: Sequence[Sequence[str]], labels: Shaped[Tensor, "more ..."]
    ) -> TextSplit:
        """This split with additional rows, given as in `columns`, truncated to the same length."""
        rows: dict[str, Any] = {LABEL: [*self._labels.tolist(), *labels.tolist()]}
        for column, old, new in zip((TEXT, SECOND), self.columns, columns, strict=False):
            rows[column] = [*old, *new]
        return TextSplit(name, pd.DataFrame(rows), self.max_length)

    def encode(self, tokenizer: Processor) -> Dataset:
        """Token ids and other model inputs, unpadded, with `length` in tokens."""
        from datasets import Dataset

        encoded = dict(tokenizer(*self.columns, truncation=True, max_length=self.max_length))
        encoded["length"] = [len(ids) for ids in encoded["input_ids"]]
        return Dataset.from_dict(encoded)

    def collate(self, tokenizer: Processor, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Pads rows to the longest and stacks them into one batch."""
        return dict(tokenizer.pad(list(rows), return_tensors="pt"))

    def truncated(self, tokenizer: Processor) -> float:
        """The share of rows that are truncated."""
        whole = tokenizer(*self.columns, truncation=False, verbose=False)["input_ids"]
        return sum(len(ids) > self.max_length for ids in whole) / len(whole)


@dataclass(frozen=True, kw_only=True)
class TextTask(SampledTask, ABC):
    """A task whose rows are texts.

    Attributes:
        max_length: rows are truncated to this many tokens.
    """

    max_length: PositiveInt

    @final
    def check_model(self, model: PreTrainedModel) -> None:
        """Raises a ConfigError if a model does not read text, or not `max_length` tokens."""
        check_reads_tokens(self, model, max_length=self.max_length)

    @final
    def make_split(self, role: str, name: str, rows: pd.DataFrame) -> TextSplit:
        """A split of rows with the columns `text`, `second` for pairs, and `label`."""
        return TextSplit(name, rows, self.max_length)


def text_columns(rows: pd.DataFrame) -> list[str]:
    """The text columns: one, or two for text pairs."""
    return [column for column in (TEXT, SECOND) if column in rows]


def check_texts(where: str, rows: pd.DataFrame) -> None:
    """Raises a UserError that names the first row without a text."""
    for column in text_columns(rows):
        empty = rows.index[rows[column].isna() | (rows[column].astype(str).str.strip() == "")]
        if len(empty):
            raise UserError(f"{where}: row {empty[0] + 1} has no {column} ({len(empty)} such rows)")
