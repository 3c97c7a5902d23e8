"""Candidates of queries, for models that read a query and a document together (cross-encoders)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, final

import numpy as np
import pandas as pd
from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError, UserError
from compress.config.fields import OneOf, Positive, PositiveInt, Seed
from compress.interfaces import Task, TaskData, TrainingData
from compress.problem.reranking import SCORES_OF_CANDIDATES, Reranking
from compress.task.components.beir import UNANSWERED
from compress.task.components.cleaning import DROPPABLE, cleaned, number_labels
from compress.task.components.queries import apart, sampled, share_out
from compress.task.components.rows import Request, check_columns, read_rows
from compress.task.components.sampling import LABEL, check_reads_tokens
from compress.task.components.splits import GivenFiles
from compress.task.components.text import SECOND, TEXT, TextSplit
from compress.task.components.text_format import TextFormat
from compress.task.components.transfer import NoTransfer, Transfer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LEAST = 3  # queries: one of each split
PAIRS = 2  # texts of a row


@final
@dataclass(frozen=True, kw_only=True)
class Rerank(Task):
    """Rows of a query, a document and a grade; rows of one query are its candidates.

    No query is in two splits, in whatever spelling: evaluation keeps it, then validation.

    Attributes:
        path: a CSV, TSV, JSON lines or Parquet file.
        query: its column of queries.
        document: its column of documents.
        label: its column of grades: 0 for irrelevant, up to `highest`.
        highest: the grade of a document that answers its query.
        transfer: pairs without grades that students and recovery trainings learn from; chosen by
            `task/transfer=…`.
        drop: what is left out and counted: "empty" texts, "unlabeled" rows, "duplicates" of a query
            with a document, "unanswered" queries.
        split: the queries for validation and evaluation.
        format: of the files.
        max_length: tokens to which query and document are truncated together, the longer one first.
        limit: maximum number of queries of each split, a seeded sample; null for all.
        seed: of the splits and samples; separate from the run's.
        calibration_samples: number of train rows for calibration.
    """

    path: str
    query: str
    document: str
    label: str
    highest: Positive
    transfer: Transfer
    drop: tuple[Annotated[str, OneOf((*DROPPABLE, UNANSWERED))], ...]
    split: GivenFiles
    format: TextFormat
    max_length: PositiveInt
    limit: PositiveInt | None
    seed: Seed
    calibration_samples: PositiveInt

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        if len(set(self._columns)) < len(self._columns):
            raise ConfigError(
                "Rerank.query, document and label must be three columns, got "
                f"{', '.join(self._columns)}"
            )

    def check(self) -> None:
        """Raises a UserError if a file is absent or lacks a column."""
        for path in (self.path, *self.split.paths.values()):
            check_columns(self._request(path))
        self.transfer.check(texts_per_row=PAIRS)

    def check_model(self, model: PreTrainedModel) -> None:
        """Raises a ConfigError if a model does not read text, or not `max_length` tokens."""
        check_reads_tokens(self, model, max_length=self.max_length)

    def scores(self) -> tuple[str, ...]:
        """NDCG and reciprocal rank of the first 10 candidates."""
        return SCORES_OF_CANDIDATES

    def has_unlabeled(self) -> bool:
        """Whether there is transfer text."""
        return not isinstance(self.transfer, NoTransfer)

    def load(self) -> TaskData:
        """Reads the candidates and splits their queries."""
        rows, words = self._read(self.path)
        given, sources = {}, [words]
        for role, path in self.split.paths.items():
            given[role], words = self._read(path)
            sources.append(words)
        tables, words = self._split(rows, given)
        gathered = self.transfer.gather(tables, self.seed)
        found = {role: self._sampled(table) for role, table in tables.items()}
        parts = {role: self._made(role, table) for role, table in found.items()}
        count = min(self.calibration_samples, len(found["train"]))
        some = found["train"].sample(count, random_state=self.seed)
        unlabeled = transfer = None
        if gathered is not None:
            unlabeled = TextSplit(gathered.source, gathered.rows, self.max_length)
            transfer = gathered.described(unlabeled.digest)
        training = TrainingData(
            parts["train"],
            parts["validation"],
            self._made("calibration", some),
            Reranking(self.highest),
            unlabeled,
        )
        return TaskData(training, parts["evaluation"], "; ".join(sources) + words, transfer)

    @property
    def _columns(self) -> tuple[str, str, str]:
        return (self.query, self.document, self.label)

    def _split(
        self, rows: pd.DataFrame, given: Mapping[str, pd.DataFrame]
    ) -> tuple[dict[str, pd.DataFrame], str]:
        """The rows of each split's queries, and what was dropped, in words."""
        names = set(rows[TEXT])
        if len(names) < LEAST:
            raise UserError(f"{self.path} has {len(names)} queries, expected at least {LEAST}")
        shares = {role: at for role, at in self.split.shares.items() if role not in given}
        own = share_out(names, shares, np.random.default_rng(self.seed))
        queries = {**own, **{role: [*dict.fromkeys(table[TEXT])] for role, table in given.items()}}
        texts = {name: name for names in queries.values() for name in names}
        kept, words = apart(queries, texts, self.path)
        return {role: _of(given.get(role, rows), names) for role, names in kept.items()}, words

    def _sampled(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows of at most `limit` queries."""
        names = [*dict.fromkeys(rows[TEXT])]
        return _of(rows, sampled(names, self.limit, np.random.default_rng(self.seed)))

    def _made(self, role: str, rows: pd.DataFrame) -> TextSplit:
        """A split of rows, labeled by the number of the query and the grade."""
        numbers, names = pd.factorize(rows[TEXT])
        table = rows.copy()
        table[LABEL] = [*zip(map(float, numbers), rows[LABEL], strict=True)]
        words = f"{role}: {len(rows)} candidates of {len(names)} queries"
        return TextSplit(words, table, self.max_length)

    def _read(self, path: str) -> tuple[pd.DataFrame, str]:
        """The rows of a file, each query with a relevant document, and a description."""
        found, how = read_rows(self._request(path))
        table = found.set_axis([TEXT, SECOND, LABEL], axis="columns")
        table[LABEL] = pd.Series(number_labels(path, found[self.label]), index=table.index)
        kept, words = cleaned(path, table, self.drop)
        rows, more = self._answered(path, self._once(path, kept))
        outside = rows[(rows[LABEL] < 0) | (rows[LABEL] > self.highest)]
        if len(outside):
            raise ConfigError(
                f"{path}: row {outside.index[0]} has {self.label} {outside[LABEL].iloc[0]:g}, "
                f"expected 0 to {self.highest:g} (task.highest)"
            )
        name = Path(path).name
        count = rows[TEXT].nunique()
        return rows, f"{name} ({how}; {len(rows)} candidates of {count} queries{words}{more})"

    def _once(self, path: str, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows, none of which may be there twice."""
        again = rows.duplicated([TEXT, SECOND])
        if again.any():
            raise UserError(
                f"{path}: row {rows.index[again][0]} has the query and document of a row before it "
                f"({again.sum()} such rows); fix it, or set task.drop=[duplicates]"
            )
        return rows

    def _answered(self, path: str, rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
        """The rows of queries with a relevant document; and what was dropped, in words."""
        best = rows.groupby(TEXT, sort=False)[LABEL].max()
        empty = best.index[best == 0]
        if not len(empty):
            return rows, ""
        if UNANSWERED not in self.drop:
            raise UserError(
                f"{path}: query {empty[0]!r} has no relevant document, one with {self.label} above "
                f"0 ({len(empty)} such queries); fix it, or set task.drop=[{UNANSWERED}]"
            )
        words = f", {len(empty)} queries without a relevant document dropped"
        return rows[~rows[TEXT].isin(empty)], words

    def _request(self, path: str) -> Request:
        return Request(Path(path), self._columns, self.format.character, self.format.encoding)


def _of(rows: pd.DataFrame, queries: list[str]) -> pd.DataFrame:
    return rows[rows[TEXT].isin(queries)]
