"""Rows of one or more texts, each of which a model embeds by itself."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Shaped
from torch import Tensor

from compress.config.errors import ConfigError
from compress.core.problem import TEXTS
from compress.interfaces import Split
from compress.task.components.text import truncated_share
from compress.transformer.embedder import pooling

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

    from compress.interfaces import Processor

ENDS = "text_ends"  # of each text in the inputs of its row


class EmbeddedSplit(Split):
    """Rows of as many texts each, with or without labels.

    Encoded, the tokens of a row's texts follow each other; in a batch each text has a row.

    Attributes:
        columns: all texts of all rows.
        max_length: tokens to which texts are truncated.
    """

    columns: list[list[str]]
    max_length: int

    def __init__(
        self,
        name: str,
        rows: Sequence[tuple[str, ...]],
        max_length: int,
        labels: Shaped[Tensor, "rows ..."] | None = None,
    ) -> None:
        """Takes rows, and their labels if they have any."""
        self.name, self.max_length, self._rows, self._labels = name, max_length, [*rows], labels
        self.columns = [[*chain.from_iterable(rows)]]
        content = repr((max_length, self._rows, None if labels is None else labels.tolist()))
        self.digest = hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def labels(self) -> Shaped[Tensor, "rows ..."]:
        """The label of each row; only of rows that have labels."""
        assert self._labels is not None, f"the rows of {self.name} have no labels"
        return self._labels

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._rows)

    @property
    def _size(self) -> int:
        """Texts of a row."""
        return len(self._rows[0])

    def extended(self, name: str, columns: Sequence[Sequence[str]]) -> EmbeddedSplit:
        """This split, then other texts of all its rows, once or several times, as in `columns`.

        They have the labels of their rows, and are truncated to the same length.
        """
        size = self._size
        more = [tuple(columns[0][at : at + size]) for at in range(0, len(columns[0]), size)]
        rows = [*self._rows, *more]
        labels = self._labels
        if labels is not None:
            labels = labels.repeat(len(rows) // len(self), *[1] * (labels.dim() - 1))
        return EmbeddedSplit(name, rows, self.max_length, labels)

    def encode(self, tokenizer: Processor) -> Dataset:
        """The tokens of each row's texts, unpadded, where each text ends, and `length`."""
        from datasets import Dataset

        how = {"truncation": True, "max_length": self.max_length}
        encoded = dict(tokenizer(self.columns[0], **how))
        size = self._size
        starts = range(0, len(self.columns[0]), size)
        columns: dict[str, list[Any]] = {
            name: [[*chain.from_iterable(each[start : start + size])] for start in starts]
            for name, each in encoded.items()
        }
        lengths = [len(ids) for ids in encoded["input_ids"]]
        columns[ENDS] = [
            torch.tensor(lengths[start : start + size]).cumsum(0).tolist() for start in starts
        ]
        # As long as its longest text: rows are batched with others of the like.
        columns["length"] = [max(lengths[start : start + size]) for start in starts]
        return Dataset.from_dict(columns)

    def collate(self, tokenizer: Processor, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Pads the texts of all rows to the longest and stacks them into one batch."""
        texts = []
        for row in rows:
            spans = zip([0, *row[ENDS]], row[ENDS], strict=False)
            names = [name for name in row if name != ENDS]
            texts += [{name: row[name][start:end] for name in names} for start, end in spans]
        return dict(tokenizer.pad(texts, return_tensors="pt"))

    def batch(self, tokenizer: Processor, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """As `collate`, with the number of texts of each row."""
        counts = torch.tensor([len(row[ENDS]) for row in rows])
        return {**self.collate(tokenizer, rows), TEXTS: counts}

    def truncated(self, tokenizer: Processor) -> float:
        """The share of texts that are truncated."""
        return truncated_share(tokenizer, self.columns, self.max_length)


def check_dimension(dimension: int | None, model: PreTrainedModel) -> None:
    """Raises a ConfigError if a model's vectors have fewer numbers than are to be kept."""
    width = model.config.hidden_size * len(pooling(model.config))
    if dimension is not None and dimension > width:
        raise ConfigError(
            f"task.dimension must be at most the {width} numbers of a vector of "
            f"{type(model).__name__}, got {dimension}"
        )


def by_length(texts: Sequence[str], size: int) -> list[tuple[str, ...]]:
    """Texts as rows of `size` of like lengths; a row that is short goes on with the first ones."""
    ordered = sorted(texts, key=len)
    filled = [*ordered, *ordered[: -len(ordered) % size]]
    return [tuple(filled[start : start + size]) for start in range(0, len(filled), size)]
