"""Rankings of candidates: losses and scores by hand, and as trec_eval has them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import pytrec_eval
import torch
from torch.nn import functional

from compress.problem.reranking import Reranking

PROBLEM = Reranking(highest=2.0)


def test_scores_by_hand() -> None:
    # Rows of two queries, mixed: 7 has grades 0, 2, 1 and 3 has 1, 0.
    labels = torch.tensor([[7.0, 0], [3.0, 1], [7.0, 2], [7.0, 1], [3.0, 0]])
    kept = torch.tensor([[3.0], [0.0], [2.0], [1.0], [0.0]])
    found = PROBLEM.evaluate(kept, labels)
    # Of equal logits that of the lower grade comes first.
    second, third = 1 / math.log2(3), 1 / math.log2(4)
    seven = (2 * second + third) / (2 + second)
    assert found.value == pytest.approx((seven + second) / 2)
    assert found.others == {"mrr_at_10": 0.5}
    assert PROBLEM.compare(kept, kept, labels).agreement == 1
    assert PROBLEM.compare(kept, -kept, labels).agreement == 0.5
    assert PROBLEM.samples(labels) == 2


def test_saying_the_same_of_all_gains_nothing_in_any_order() -> None:
    grades = [0.0] * 9 + [1.0]
    for order in (grades, grades[::-1]):
        labels = torch.tensor([[5.0, grade] for grade in order])
        found = PROBLEM.evaluate(torch.zeros(10, 1), labels)
        assert found.value == pytest.approx(1 / math.log2(11))
        assert found.others["mrr_at_10"] == pytest.approx(0.1)


def test_any_candidates_have_the_scores_of_trec_eval() -> None:
    generator = torch.Generator().manual_seed(0)
    queries = torch.randint(0, 20, (300,), generator=generator).float()
    grades = torch.randint(0, 3, (300,), generator=generator).float()
    kept = torch.randn(300, 1, generator=generator)
    found = PROBLEM.evaluate(kept, torch.stack([queries, grades], dim=1))
    qrels: dict[str, dict[str, int]] = {}
    run: dict[str, dict[str, float]] = {}
    for row, (query, grade) in enumerate(zip(queries.tolist(), grades.tolist(), strict=True)):
        qrels.setdefault(f"{query}", {})[f"d{row}"] = int(grade)
        run.setdefault(f"{query}", {})[f"d{row}"] = float(kept[row])
    theirs = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10"}).evaluate(run)
    expected = np.mean([each["ndcg_cut_10"] for each in theirs.values()])
    assert found.value == pytest.approx(expected, abs=1e-9)


def test_margins_of_all_rows_are_learned() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 5, 1, generator=generator)
    pairs = itertools.product(range(5), repeat=2)
    margins = [
        float(((student[i] - student[j]) - (teacher[i] - teacher[j])) ** 2) for i, j in pairs
    ]
    labels = torch.zeros(5, 2)
    found = PROBLEM.distillation_loss(student, teacher, labels, 1.0)
    assert float(found) == pytest.approx(np.mean(margins))
    assert float(PROBLEM.distillation_loss(teacher + 3, teacher, labels, 1.0)) == pytest.approx(
        0, abs=1e-6
    )


def test_grades_are_shares_of_the_highest() -> None:
    logits, labels = torch.tensor([[0.5], [-1.0]]), torch.tensor([[0.0, 1], [1.0, 2]])
    expected = functional.binary_cross_entropy_with_logits(logits[:, 0], torch.tensor([0.5, 1.0]))
    assert float(PROBLEM.loss(logits, labels)) == pytest.approx(float(expected))
    smoothed = functional.binary_cross_entropy_with_logits(logits[:, 0], torch.tensor([0.5, 0.95]))
    assert float(PROBLEM.loss(logits, labels, 0.1)) == pytest.approx(float(smoothed))
