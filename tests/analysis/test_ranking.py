"""Rankings: by hand, and as trec_eval scores them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import pytrec_eval

from compress.analysis.ranking import mean, mean_parts, ndcg, recall, reciprocal_rank


def test_gains_by_hand() -> None:
    found = np.array([[0.0, 2.0, 1.0], [3.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    graded = np.array([[1.0, 2.0, 0.0], [1.0, 3.0, 0.0], [0.0, 0.0, 0.0]])
    third, second = 1 / math.log2(4), 1 / math.log2(3)
    expected = [(2 * second + third) / (2 + second), 3 / (3 + second), 0.0]
    assert ndcg(found, graded, 3) == pytest.approx(expected)
    assert ndcg(found, graded, 1) == pytest.approx([0, 1, 0])
    assert reciprocal_rank(found, 3).tolist() == [0.5, 1, 0]
    assert reciprocal_rank(found, 1).tolist() == [0, 1, 0]
    assert recall(found, np.array([4, 1, 0]), 3).tolist() == [0.5, 1, 0]


def test_a_mean_is_of_queries() -> None:
    parts = mean_parts(np.array([0.2, 0.6]))
    assert float(mean(parts.sum(axis=0))) == pytest.approx(0.4)


def test_any_rankings_have_the_scores_of_trec_eval() -> None:
    draws = np.random.default_rng(0)
    queries, documents, depth = 40, 150, 10
    grades = draws.choice([0, 0, 0, 0, 1, 2, 3], size=(queries, documents)).astype(float)
    scores = draws.permuted(np.tile(np.arange(documents) / 7, (queries, 1)), axis=1)
    order = np.argsort(-scores, axis=1)
    found = np.take_along_axis(grades, order, axis=1)
    names = [f"d{number}" for number in range(documents)]
    judged = {
        f"q{q}": {d: int(g) for d, g in zip(names, row, strict=True)}
        for q, row in enumerate(grades)
    }
    run = {f"q{q}": dict(zip(names, map(float, row), strict=True)) for q, row in enumerate(scores)}
    measures = {"ndcg_cut.10", "recall.100", "recip_rank"}
    theirs = pytrec_eval.RelevanceEvaluator(judged, measures).evaluate(run)
    ours = {
        "ndcg_cut_10": ndcg(found, grades, depth),
        "recall_100": recall(found, (grades > 0).sum(axis=1), 100),
        "recip_rank": reciprocal_rank(found, documents),
    }
    for name, values in ours.items():
        expected = [theirs[f"q{q}"][name] for q in range(queries)]
        assert np.abs(values - expected).max() < 1e-9
        assert 0 < values.min() < values.max()
