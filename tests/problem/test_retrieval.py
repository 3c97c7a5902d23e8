"""Rankings of documents: labels, losses and scores by hand, and as trec_eval has them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import pytrec_eval
import torch
from torch import Tensor

from compress.config.errors import UserError
from compress.problem.retrieval import NOTHING, Retrieval
from compress.problem.vector_index import VectorIndex

PROBLEM = Retrieval(None, 1.0, VectorIndex(), "cosine")


def unit(*degrees: float) -> Tensor:
    """Vectors of the plane at these angles, of different lengths."""
    rows = [(math.cos(math.radians(each)), math.sin(math.radians(each))) for each in degrees]
    return torch.tensor(rows)[:, None] * torch.arange(1.0, len(rows) + 1)[:, None, None]


def test_scores_by_hand() -> None:
    kept = unit(0, 90, 10, 80, 45)  # two queries, then documents
    labels = torch.tensor(
        [[1, NOTHING, 1, 2, 2, 1], [1, NOTHING, 0, 3, NOTHING, 0], *[[0, *[NOTHING] * 5]] * 3]
    )
    found = PROBLEM.evaluate(kept, labels)
    # The first query finds 0 (irrelevant), 2 (grade 1), 1 (grade 2); the second 1, 2, 0.
    second, third = 1 / math.log2(3), 1 / math.log2(4)
    first = (second + 2 * third) / (2 + second)
    assert found.value == pytest.approx((first + third) / 2)
    assert found.others["mrr_at_10"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert found.others["recall_at_100"] == 1
    assert found.low <= found.value <= found.high


def test_products_are_of_vectors_as_they_are() -> None:
    kept = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]], [[3.0, 3.0]]])
    labels = torch.tensor([[1, NOTHING, 1, 1], *[[0, NOTHING, NOTHING, NOTHING]] * 2])
    values = [
        Retrieval(None, 1.0, VectorIndex(), likeness).evaluate(kept, labels).value
        for likeness in ("cosine", "dot")
    ]
    assert values == pytest.approx([1 / math.log2(3), 1])


def test_any_vectors_have_the_scores_of_trec_eval() -> None:
    generator = torch.Generator().manual_seed(0)
    queries, documents, judged = 30, 120, 9
    kept = torch.randn(queries + documents, 1, 12, generator=generator)
    labels = torch.full((queries + documents, 2 + 2 * judged), NOTHING)
    labels[:, 0] = 0
    qrels: dict[str, dict[str, int]] = {}
    for query in range(queries):
        some = torch.randperm(documents, generator=generator)[: judged - query % 3]
        grades = torch.randint(0, 4, (len(some),), generator=generator)
        grades[0] = 1
        pairs = torch.stack([some, grades], dim=1).flatten()
        labels[query, : 2 + len(pairs)] = torch.cat([torch.tensor([1, NOTHING]), pairs])
        labels[query, 3 + len(pairs) :: 2] = 0
        qrels[f"q{query}"] = {f"d{d}": int(g) for d, g in zip(some, grades, strict=True)}
    vectors = torch.nn.functional.normalize(kept[:, 0], dim=-1)
    scores = (vectors[:queries] @ vectors[queries:].T).tolist()
    run = {f"q{q}": {f"d{d}": s for d, s in enumerate(row)} for q, row in enumerate(scores)}
    measures = {"ndcg_cut.10", "recall.100"}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, measures).evaluate(run)
    found = PROBLEM.evaluate(kept, labels)
    means = {name: np.mean([each[name] for each in theirs.values()])
             for name in ("ndcg_cut_10", "recall_100")}  # fmt: skip
    assert found.value == pytest.approx(means["ndcg_cut_10"], abs=1e-9)
    assert found.others["recall_at_100"] == pytest.approx(means["recall_100"], abs=1e-9)
    assert PROBLEM.compare(kept, kept, labels).p_value == 1
    other = PROBLEM.compare(torch.randn(kept.shape, generator=generator), kept, labels)
    assert other.agreement == pytest.approx(10 / documents, abs=0.05)


def test_a_document_of_the_same_query_is_not_wrong() -> None:
    rows = torch.stack([unit(0, 0, 90)[:, 0], unit(0, 0, 90)[:, 0]], dim=1)
    alone = math.log(1 + math.exp(-20.0))  # each query against its own and one other document
    first = float(PROBLEM.loss(rows, torch.tensor([0, 0, 1])))
    third = math.log(1 + 2 * math.exp(-20.0))
    assert first == pytest.approx((2 * alone + third) / 3, abs=1e-6)
    apart = (2 * (math.log(2 + math.exp(-20.0))) + third) / 3
    assert float(PROBLEM.loss(rows, torch.tensor([0, 1, 2]))) == pytest.approx(apart, abs=1e-5)


@pytest.mark.parametrize("format", ["float32", "int8", "binary"])
def test_a_query_does_not_find_itself(format: Any) -> None:
    """As in BEIR, where a query and a document have one id: Quora, ArguAna."""
    kept = unit(0, 0, 10, 80)  # a query, and the document that it is
    labels = torch.tensor([[1, 0, 1, 1], *[[0, NOTHING, NOTHING, NOTHING]] * 3])
    problem = Retrieval(None, 1.0, VectorIndex(None, format), "cosine")
    assert problem.evaluate(kept, labels).value == pytest.approx(1)
    labels[0, 1] = NOTHING
    assert problem.evaluate(kept, labels).value < 1
    assert problem.samples(labels) == 1


def test_rows_to_be_ranked_have_no_loss() -> None:
    with pytest.raises(UserError, match="patience must be null for retrieval"):
        PROBLEM.loss(torch.zeros(3, 1, 4), torch.zeros(3))
