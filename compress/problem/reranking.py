"""Ranking a query's candidates by one number for each pair of query and document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, final

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from compress.analysis.ranking import ndcg, reciprocal_rank
from compress.core.problem import Head, Problem, Quality
from compress.problem.classification import head_labels
from compress.problem.ranking_scores import DEPTH, ranking_comparison, ranking_quality
from compress.records.schema import Comparison

SCORES_OF_CANDIDATES = ("ndcg_at_10", "mrr_at_10")
RELEVANCE = "relevance"


class Ranked(NamedTuple):
    """The candidates of each query, best first, and their grades."""

    order: Int[np.ndarray, "queries ranks"]
    grades: Float[np.ndarray, "queries ranks"]


@final
@dataclass(frozen=True)
class Reranking(Problem):
    """One logit for each pair; evaluated by nDCG of the first ten of each query's candidates.

    Labels are the query's number and the grade of the document, 0 for irrelevant.

    Attributes:
        highest: the grade of a document that answers its query.
    """

    head: ClassVar[Head] = "classifier"

    highest: float

    def config(self) -> Mapping[str, Any]:
        """Model config entries of one output."""
        return {**head_labels((RELEVANCE,)), "problem_type": None}

    def loss(
        self,
        logits: Float[Tensor, "B 1"],
        targets: Float[Tensor, "B 2"],
        label_smoothing: float = 0.0,
    ) -> Float[Tensor, ""]:
        """Binary cross entropy against grades as shares of the highest; smoothed towards 1/2."""
        right = (targets[:, 1] / self.highest).clamp(max=1)
        smoothed = right * (1 - label_smoothing) + label_smoothing / 2
        return functional.binary_cross_entropy_with_logits(logits.squeeze(-1), smoothed)

    def distillation_loss(
        self,
        student: Float[Tensor, "B 1"],
        teacher: Float[Tensor, "B 1"],
        targets: Float[Tensor, "B 2"],
        temperature: float,
    ) -> Float[Tensor, ""]:
        """Mean squared difference of margins, of each two rows of the batch.

        Hofstätter et al., "Improving Efficient Neural Ranking Models with Cross-Architecture
        Knowledge Distillation", arXiv:2010.02666, section 3.2, there of two documents of a query.
        With d = student - teacher, the mean of (d_i - d_j)² is 2 · (mean d² - (mean d)²): the
        teacher's scale matters, and an offset of all its logits does not. The temperature has no
        effect.
        """
        return 2 * (student - teacher).var(correction=0)

    def samples(self, labels: Float[Tensor, "rows 2"]) -> int:
        """Queries."""
        return len(set(labels[:, 0].tolist()))

    def evaluate(self, kept: Float[Tensor, "rows 1"], labels: Float[Tensor, "rows 2"]) -> Quality:
        """NDCG and reciprocal rank of the first 10 candidates."""
        grades = _ranked(kept, labels).grades
        others = {"mrr_at_10": float(reciprocal_rank(grades, DEPTH).mean())}
        return ranking_quality(ndcg(grades, grades, DEPTH), others)

    def compare(
        self,
        candidate: Float[Tensor, "rows 1"],
        baseline: Float[Tensor, "rows 1"],
        labels: Float[Tensor, "rows 2"],
    ) -> Comparison:
        """The share of queries with the same best candidate, and a test over queries."""
        ours, theirs = (_ranked(kept, labels) for kept in (candidate, baseline))
        mine, its = (ndcg(each.grades, each.grades, DEPTH) for each in (ours, theirs))
        equal = ours.order[:, 0] == theirs.order[:, 0]
        return ranking_comparison(mine, its, float(equal.mean()))


def _grid(values: np.ndarray, labels: Float[Tensor, "rows 2"], empty: float) -> np.ndarray:
    """Values of rows as a table of queries and candidates; `empty` behind a query's last one."""
    queries = labels[:, 0].numpy()
    _, places, counts = np.unique(queries, return_inverse=True, return_counts=True)
    order = np.argsort(places, kind="stable")
    columns = np.arange(len(queries)) - np.repeat(counts.cumsum() - counts, counts)
    table = np.full((len(counts), counts.max()), empty)
    table[places[order], columns] = values[order]
    return table


def _ranked(kept: Float[Tensor, "rows 1"], labels: Float[Tensor, "rows 2"]) -> Ranked:
    """Rankings of the candidates of each query.

    Of equal ones those of lower grades come first: whatever the order of the rows, a model gains
    nothing by saying the same of all.
    """
    found = _grid(kept[:, 0].double().numpy(), labels, -np.inf)
    grades = _grid(labels[:, 1].double().numpy(), labels, 0.0)
    order = np.lexsort((grades, -found), axis=1)
    return Ranked(order, np.take_along_axis(grades, order, axis=1))
