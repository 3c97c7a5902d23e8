"""Pairs of texts and how much alike they are, for models that embed each text by itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, final

import pandas as pd
import torch
from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError
from compress.config.fields import OneOf, Positive, PositiveInt
from compress.interfaces import Head, TaskData
from compress.problem.embedding import SCORES_OF_PAIRS, TextSimilarity
from compress.problem.vector_index import Format, VectorIndex
from compress.records.schema import TransferText
from compress.task.components.cleaning import DROPPABLE, cleaned, number_labels
from compress.task.components.embedded_rows import EmbeddedSplit, by_length, check_dimension
from compress.task.components.folds import FoldedTask
from compress.task.components.leaks import disjoint
from compress.task.components.rows import Request, check_columns, read_rows
from compress.task.components.sampling import LABEL, check_reads_tokens
from compress.task.components.splits import FileSplit
from compress.task.components.text import SECOND, TEXT, text_columns
from compress.task.components.text_format import TextFormat
from compress.task.components.text_task import ROLES
from compress.task.components.transfer import NoTransfer, Transfer
from compress.transformer.embedder import POOLINGS

if TYPE_CHECKING:
    from transformers import PreTrainedModel

IN_A_ROW = 2  # texts


@final
@dataclass(frozen=True, kw_only=True)
class Sts(FoldedTask):
    """Pairs of texts with a number: 0 for unrelated ones, `highest` for the same meaning.

    No pair is in two splits, in whatever spelling and order: evaluation keeps it, then validation.

    Attributes:
        path: a CSV, TSV, JSON lines or Parquet file.
        text: its columns of the two texts.
        label: its column of the numbers.
        highest: the number of texts that mean the same.
        pooling: how a model's tokens become one vector; null for what its modules.json says, or the
            mean without one.
        prefix: what is put before each text, as some models are trained with.
        similarities: weight of cosines in what students learn, beside the teacher's vectors.
        dimension: so many of the first numbers of a compressed model's vectors are kept, and
            students learn that these do; null for all.
        vectors: what a number is kept in: "float32", "int8" or "binary".
        transfer: texts without labels that students and recovery trainings learn from; chosen by
            `task/transfer=…`.
        drop: rows to drop and count: "empty", "unlabeled".
        split: the rows for validation and evaluation.
        format: of the files.
        max_length: texts are truncated to this many tokens.
    """

    head: ClassVar[Head] = "embedder"

    path: str
    text: tuple[str, str]
    label: str
    highest: Positive
    pooling: Annotated[str, OneOf(POOLINGS)] | None
    prefix: str
    similarities: Positive
    dimension: PositiveInt | None
    vectors: Format
    transfer: Transfer
    drop: tuple[Annotated[str, OneOf(DROPPABLE)], ...]
    split: FileSplit
    format: TextFormat
    max_length: PositiveInt

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        if len({*self.text, self.label}) < IN_A_ROW + 1:
            raise ConfigError(
                f"Sts.text and Sts.label must be three columns, got {', '.join(self.text)} and "
                f"{self.label}"
            )

    def check(self) -> None:
        """Raises a UserError if a file is absent or lacks a column."""
        for path in (self.path, *self.split.paths.values()):
            check_columns(self._request(path))
        self.transfer.check(texts_per_row=1)

    def check_model(self, model: PreTrainedModel) -> None:
        """Raises a ConfigError if a model reads no text, or too few tokens, or has few numbers."""
        check_reads_tokens(self, model, max_length=self.max_length)
        check_dimension(self.dimension, model)

    def scores(self) -> tuple[str, ...]:
        """Spearman and Pearson correlations."""
        return SCORES_OF_PAIRS

    def smooths_labels(self) -> bool:
        """Labels are numbers."""
        return False

    def has_unlabeled(self) -> bool:
        """Whether there is transfer text."""
        return not isinstance(self.transfer, NoTransfer)

    def load(self) -> TaskData:
        """Reads the pairs and splits off the splits without a file."""
        rows, words = self._read(self.path)
        given, sources = {}, [words]
        for role, path in self.split.paths.items():
            table, words = self._read(path)
            given[role] = (Path(path).name, table)
            sources.append(words)
        shares = {role: at for role, at in self.split.shares.items() if role not in given}
        units = rows.groupby(text_columns(rows), sort=False).ngroup().to_numpy()
        whole = Path(self.path).name
        named = {**given, **self.split_off(self.path, whole, rows, shares, (), units)}
        index = VectorIndex(self.dimension, self.vectors)
        problem = TextSimilarity(self.pooling, self.similarities, index, self.highest)
        return self.assemble(named, problem, "; ".join(sources))

    def separated(
        self, splits: Mapping[str, pd.DataFrame]
    ) -> tuple[Mapping[str, pd.DataFrame], str]:
        """The splits without pairs in common, and what was dropped, in words."""
        return disjoint({role: splits[role] for role in ROLES}, f"{self.path}: ")

    def make_split(self, role: str, name: str, rows: pd.DataFrame) -> EmbeddedSplit:
        """A split of pairs with their numbers."""
        pairs = zip(*(rows[column].map(self._prefixed) for column in (TEXT, SECOND)), strict=True)
        labels = torch.tensor(rows[LABEL].tolist())
        return EmbeddedSplit(name, [*pairs], self.max_length, labels)

    def unlabeled(
        self, splits: Mapping[str, pd.DataFrame]
    ) -> tuple[EmbeddedSplit, TransferText] | None:
        """The transfer text, without any text of the splits; and its description."""
        texts = {
            role: pd.DataFrame({TEXT: pd.concat([rows[TEXT], rows[SECOND]], ignore_index=True)})
            for role, rows in splits.items()
        }
        found = self.transfer.gather(texts, self.seed)
        if found is None:
            return None
        rows = by_length([*found.rows[TEXT].map(self._prefixed)], IN_A_ROW)
        split = EmbeddedSplit(found.source, rows, self.max_length)
        return split, found.described(split.digest)

    def _prefixed(self, text: str) -> str:
        return self.prefix + text

    def _read(self, path: str) -> tuple[pd.DataFrame, str]:
        """The clean pairs of a file, and a description of them."""
        found, how = read_rows(self._request(path))
        table = found.set_axis([TEXT, SECOND, LABEL], axis="columns")
        numbers = number_labels(path, found[self.label])
        table[LABEL] = pd.Series(numbers, index=table.index)
        self._check_range(path, table[LABEL])
        rows, words = cleaned(path, table, self.drop)
        return rows, f"{Path(path).name} ({how}; {len(table)} rows{words})"

    def _request(self, path: str) -> Request:
        columns = (*self.text, self.label)
        return Request(Path(path), columns, self.format.character, self.format.encoding)

    def _check_range(self, path: str, numbers: pd.Series) -> None:
        outside = numbers[(numbers < 0) | (numbers > self.highest)]
        if len(outside):
            raise ConfigError(
                f"{path}: row {outside.index[0]} has {self.label} {outside.iloc[0]:g}, expected 0 "
                f"to {self.highest:g} (task.highest)"
            )
        if numbers.max() <= self.highest / 2:
            raise ConfigError(
                f"{path}: the largest {self.label} is {numbers.max():g} and task.highest is "
                f"{self.highest:g}; set it to the {self.label} of texts that mean the same"
            )
