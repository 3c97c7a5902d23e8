"""Finding the documents that answer a query, by the cosines or products of their vectors.

Documents are ranked exactly, without an index. Equal ones keep no order of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from compress.analysis.ranking import Values, ndcg, recall, reciprocal_rank
from compress.config.errors import UserError
from compress.core.problem import Quality
from compress.problem.embedding import Embedding
from compress.problem.ranking_scores import DEPTH, ranking_comparison, ranking_quality
from compress.records.schema import Comparison
from compress.records.scores import INDEX_BYTES

SCORES_OF_QUERIES = ("ndcg_at_10", "mrr_at_10", "recall_at_100", INDEX_BYTES)
DEEPEST = 100
AT_ONCE = 256  # queries
NOTHING = -1  # in the place of a document's number
SCALE = 20.0  # of cosines in the label loss, as in sentence-transformers
OTHERS = torch.finfo(torch.float32).min  # in the place of a document that does not take part


class Judged(NamedTuple):
    """What is right of a split's rows.

    Attributes:
        queries: the rows that are queries; all others are documents.
        itself: for each query the document that it is, which is not to be found; or `NOTHING`.
        documents: for each query the judged documents, numbered in the order of their rows;
            `NOTHING` behind the last one.
        grades: their grades, 0 for irrelevant.
    """

    queries: Int[Tensor, " queries"]
    itself: Int[Tensor, " queries"]
    documents: Int[Tensor, "queries judged"]
    grades: Float[Tensor, "queries judged"]


class Ranked(NamedTuple):
    """Rankings of all queries: the best documents, and their grades."""

    best: Int[Tensor, "queries ranks"]
    grades: Float[np.ndarray, "queries ranks"]


@final
@dataclass(frozen=True)
class Retrieval(Embedding):
    """Rankings of documents by their likeness to a query; evaluated by nDCG of the first ten.

    Labels of rows to be evaluated are 1 for a query and 0 for a document, the number of the
    document that a query itself is, then pairs of a judged document's number and its grade. Those
    of rows to learn from, a query and a document that answers it, are the query's number.

    Attributes:
        likeness: "cosine" or "dot", the product of vectors as they are.
    """

    likeness: Literal["cosine", "dot"]

    def loss(
        self,
        logits: Float[Tensor, "B 2 D"],
        targets: Int[Tensor, " B"],
        label_smoothing: float = 0.0,
    ) -> Float[Tensor, ""]:
        """Cross entropy of a query's document among those of the batch.

        Henderson et al., "Efficient Natural Language Response Suggestion", arXiv:1705.00652,
        section 4.4. Other documents of the same query do not take part.

        Raises:
            UserError: these are no rows to learn from.
        """
        if logits.shape[1] != 2:
            raise UserError(
                "patience must be null for retrieval, whose validation rows are queries and all "
                "documents, without a loss"
            )
        queries, documents = self._ready(logits[:, 0]), self._ready(logits[:, 1])
        products = queries @ documents.T * (SCALE if self.likeness == "cosine" else 1.0)
        places = torch.arange(len(targets), device=logits.device)
        same = (targets[:, None] == targets) & (places[:, None] != places)
        products = products.masked_fill(same, OTHERS)
        return functional.cross_entropy(products, places, label_smoothing=label_smoothing)

    def samples(self, labels: Int[Tensor, "rows 2+2*judged"]) -> int:
        """Queries."""
        return int(labels[:, 0].sum())

    def evaluate(
        self, kept: Float[Tensor, "rows 1 D"], labels: Int[Tensor, "rows 2+2*judged"]
    ) -> Quality:
        """NDCG and reciprocal rank of the first 10, and recall of the first 100."""
        judged = _judged(labels)
        found = self._ranked(kept, judged).grades
        relevant = (judged.grades > 0).sum(dim=1).numpy()
        others = {
            "mrr_at_10": float(reciprocal_rank(found, DEPTH).mean()),
            "recall_at_100": float(recall(found, relevant, DEEPEST).mean()),
            INDEX_BYTES: self.index.bytes_each(kept.shape[-1]),
        }
        return ranking_quality(_ndcg(found, judged), others)

    def compare(
        self,
        candidate: Float[Tensor, "rows 1 D"],
        baseline: Float[Tensor, "rows 1 theirs"],
        labels: Int[Tensor, "rows 2+2*judged"],
    ) -> Comparison:
        """The share of equal documents in the first ten, and a permutation test over queries."""
        judged = _judged(labels)
        ours = self._ranked(candidate, judged)
        theirs = self.of_baseline()._ranked(baseline, judged)
        mine, its = (_ndcg(each.grades, judged) for each in (ours, theirs))
        first, second = ours.best[:, :DEPTH], theirs.best[:, :DEPTH]
        equal = (first[:, :, None] == second[:, None, :]).any(dim=-1)
        return ranking_comparison(mine, its, float(equal.float().mean()))

    def _ready(self, vectors: Float[Tensor, "rows D"]) -> Float[Tensor, "rows D"]:
        return functional.normalize(vectors, dim=-1) if self.likeness == "cosine" else vectors

    def _ranked(self, kept: Float[Tensor, "rows 1 D"], judged: Judged) -> Ranked:
        """The `DEEPEST` best documents of each query."""
        vectors = self._ready(self.index.first(kept[:, 0]))
        queries = torch.zeros(len(vectors), dtype=torch.bool)
        queries[judged.queries] = True
        documents = self.index.kept(vectors[~queries])
        depth = min(DEEPEST, len(documents))
        sought = zip(torch.split(vectors[queries], AT_ONCE), torch.split(judged.itself, AT_ONCE),
                     strict=True)  # fmt: skip
        best = [self.index.search(part, documents, depth, itself) for part, itself in sought]
        parts = zip(
            best,
            torch.split(judged.documents, AT_ONCE),
            torch.split(judged.grades, AT_ONCE),
            strict=True,
        )
        grades = [((at[..., None] == these[:, None]) * given[:, None]).sum(dim=-1)
                  for at, these, given in parts]  # fmt: skip
        return Ranked(torch.cat(best), torch.cat(grades).double().numpy())


def _judged(labels: Int[Tensor, "rows 2+2*judged"]) -> Judged:
    queries = labels[:, 0].nonzero()[:, 0]
    pairs = labels[queries, 2:].reshape(len(queries), -1, 2)
    return Judged(queries, labels[queries, 1], pairs[..., 0], pairs[..., 1].float())


def _ndcg(found: Float[np.ndarray, "queries ranks"], judged: Judged) -> Values:
    return ndcg(found, judged.grades.double().numpy(), DEPTH)
