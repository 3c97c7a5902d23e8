"""Queries and the documents that answer them, for models that embed each text by itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, final

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from pydantic.dataclasses import dataclass
from torch import Tensor

from compress.config.fields import OneOf, Positive, PositiveInt, Seed
from compress.interfaces import Head, Task, TaskData, TrainingData
from compress.problem.retrieval import NOTHING, SCORES_OF_QUERIES, Retrieval
from compress.problem.vector_index import Format, VectorIndex
from compress.records.schema import TransferText
from compress.task.components.beir import (
    DROPPABLE,
    Qrels,
    Texts,
    check_collection,
    read_collection,
)
from compress.task.components.embedded_rows import EmbeddedSplit, by_length, check_dimension
from compress.task.components.queries import apart, sampled, share_out
from compress.task.components.sampling import check_reads_tokens
from compress.task.components.splits import HeldOut
from compress.task.components.text import TEXT
from compress.task.components.text_format import TextFormat
from compress.task.components.transfer import NoTransfer, Transfer
from compress.transformer.embedder import POOLINGS

if TYPE_CHECKING:
    from transformers import PreTrainedModel

IN_A_ROW = 2  # texts to learn from: a query and a document, or any two


@final
@dataclass(frozen=True, kw_only=True)
class Beir(Task):
    """A folder in BEIR's layout: all documents are ranked for each query.

    Attributes:
        path: the folder; see `compress/task/components/beir.py`.
        likeness: what documents are ranked by: "cosine", or "dot", the product of the vectors.
        pooling: how a model's tokens become one vector; null for what its modules.json says, or the
            mean without one.
        prefixes: what is put before each query, and before each document.
        similarities: weight of cosines in what students learn, beside the teacher's vectors.
        dimension: so many of the first numbers of a compressed model's vectors are kept, and
            students learn that these do; null for all.
        vectors: what a number is kept in: "float32", "int8" or "binary".
        learn_documents: whether students learn from all documents, beside pairs of the train split.
        transfer: texts without labels that students and recovery trainings learn from; chosen by
            `task/transfer=…`.
        drop: what is left out and counted: "empty" texts, "unanswered" queries.
        split: the queries for validation and evaluation, where one file has all judgments; with
            `qrels/train.tsv` and without `dev.tsv`, the share of its queries for validation.
        format: of the files.
        max_length: texts are truncated to this many tokens.
        limit: maximum number of queries of each split, a seeded sample; null for all. Documents are
            never left out.
        seed: of the splits and samples; separate from the run's.
        calibration_samples: number of pairs of train for calibration.
    """

    head: ClassVar[Head] = "embedder"

    path: str
    likeness: Literal["cosine", "dot"]
    pooling: Annotated[str, OneOf(POOLINGS)] | None
    prefixes: tuple[str, str]
    similarities: Positive
    dimension: PositiveInt | None
    vectors: Format
    learn_documents: bool
    transfer: Transfer
    drop: tuple[Annotated[str, OneOf(DROPPABLE)], ...]
    split: HeldOut
    format: TextFormat
    max_length: PositiveInt
    limit: PositiveInt | None
    seed: Seed
    calibration_samples: PositiveInt

    def check(self) -> None:
        """Raises a UserError if a file is absent or lacks a column."""
        check_collection(Path(self.path), self.format)
        self.transfer.check(texts_per_row=1)

    def check_model(self, model: PreTrainedModel) -> None:
        """Raises a ConfigError if a model reads no text, or too few tokens, or has few numbers."""
        check_reads_tokens(self, model, max_length=self.max_length)
        check_dimension(self.dimension, model)

    def scores(self) -> tuple[str, ...]:
        """NDCG and reciprocal rank of the first 10 documents, and recall of the first 100."""
        return SCORES_OF_QUERIES

    def validates_by_loss(self) -> bool:
        """Validation rows are ranked."""
        return False

    def has_unlabeled(self) -> bool:
        """Whether there is transfer text, or documents are learned from."""
        return self.learn_documents or not isinstance(self.transfer, NoTransfer)

    def load(self) -> TaskData:
        """Reads the folder and splits the queries."""
        found = read_collection(Path(self.path), self.format, self.drop)
        qrels, words = self._split(found)
        unlabeled, transfer = self._unlabeled(found, qrels)
        train = self._pairs("train", found, qrels["train"])
        calibration = self._pairs("calibration", found, qrels["train"], self.calibration_samples)
        index = VectorIndex(self.dimension, self.vectors)
        problem = Retrieval(self.pooling, self.similarities, index, self.likeness)
        validation = self._ranked("validation", found, qrels["validation"])
        training = TrainingData(train, validation, calibration, problem, unlabeled)
        evaluation = self._ranked("evaluation", found, qrels["evaluation"])
        return TaskData(training, evaluation, found.words + words, transfer)

    def _split(self, found: Texts) -> tuple[dict[str, Qrels], str]:
        """The judgments of each split's queries, at most `limit` of them; and what was dropped."""
        draws = np.random.default_rng(self.seed)
        given = dict(found.qrels)
        shares = self.split.shares
        rest = given.pop("all", None)
        if rest is None and not {"train", "validation"} <= set(given):
            rest = given.pop("train", None) or given.pop("validation", {})
            shares = {"validation": shares["validation"]}
        names: dict[str, list[str]] = {role: [*each] for role, each in given.items()}
        if rest is not None:
            names |= share_out(rest, shares, draws)
        kept, words = apart(names, found.queries, self.path)
        return {
            role: {
                name: given.get(role, rest or {})[name] for name in sampled(each, self.limit, draws)
            }
            for role, each in kept.items()
        }, words

    def _pairs(
        self, role: str, found: Texts, qrels: Qrels, limit: int | None = None
    ) -> EmbeddedSplit:
        """Queries with each of the documents that answer them, with the query's number."""
        numbers = {query: number for number, query in enumerate(qrels)}
        pairs = [
            (query, document)
            for query, grades in qrels.items()
            for document, grade in grades.items()
            if grade > 0
        ]
        order = np.random.default_rng(self.seed).permutation(len(pairs))[:limit]
        pairs = [pairs[place] for place in (sorted(order.tolist()))]
        rows = [
            (self._query(found.queries[q]), self._document(found.documents[d])) for q, d in pairs
        ]
        labels = torch.tensor([numbers[query] for query, _ in pairs])
        words = f"{len(pairs)} pairs of {len(qrels)} queries to learn from"
        return EmbeddedSplit(f"{role}: {words}", rows, self.max_length, labels)

    def _ranked(self, role: str, found: Texts, qrels: Qrels) -> EmbeddedSplit:
        """The queries of a split, then all documents."""
        rows = [(self._query(found.queries[query]),) for query in qrels]
        rows += [(self._document(text),) for text in found.documents.values()]
        words = f"{len(qrels)} queries and {len(found.documents)} documents"
        return EmbeddedSplit(f"{role}: {words}", rows, self.max_length, _labels(found, qrels))

    def _unlabeled(
        self, found: Texts, qrels: dict[str, Qrels]
    ) -> tuple[EmbeddedSplit | None, TransferText | None]:
        """Documents and transfer text to learn from, without queries that are held out."""
        texts = [self._document(each) for each in found.documents.values()]
        held = {
            role: pd.DataFrame({TEXT: [found.queries[query] for query in each]})
            for role, each in qrels.items()
        }
        gathered = self.transfer.gather(held, self.seed)
        more = [] if gathered is None else [*gathered.rows[TEXT]]
        texts = [*(texts if self.learn_documents else ()), *map(self._document, more)]
        if not texts:
            return None, None
        source = "all documents" if gathered is None else gathered.source
        split = EmbeddedSplit(source, by_length(texts, IN_A_ROW), self.max_length)
        return split, None if gathered is None else gathered.described(split.digest)

    def _query(self, text: str) -> str:
        return self.prefixes[0] + text

    def _document(self, text: str) -> str:
        return self.prefixes[1] + text


def _labels(found: Texts, qrels: Qrels) -> Int[Tensor, "rows 2+2*judged"]:
    """Those of `Retrieval`: queries, the document that each itself is, and judged documents."""
    numbers = {document: number for number, document in enumerate(found.documents)}
    most = max(map(len, qrels.values()))
    labels = torch.full((len(qrels) + len(numbers), 2 + 2 * most), NOTHING)
    labels[:, 0] = 0
    for row, (query, grades) in enumerate(qrels.items()):
        pairs = [(numbers[document], int(grade)) for document, grade in grades.items()]
        pairs += [(NOTHING, 0)] * (most - len(pairs))
        flat: Sequence[int] = [number for pair in pairs for number in pair]
        labels[row] = torch.tensor([1, numbers.get(query, NOTHING), *flat])
    return labels
