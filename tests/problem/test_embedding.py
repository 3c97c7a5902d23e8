"""Vectors of texts: losses and scores by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional

from compress.config.errors import UserError
from compress.core.problem import TEXTS, model_inputs
from compress.problem.embedding import TextSimilarity, cosines
from compress.problem.vector_index import VectorIndex

PROBLEM = TextSimilarity(None, 1.0, VectorIndex(), 5.0)


def test_the_texts_of_a_row_follow_each_other() -> None:
    logits = torch.arange(12.0).view(6, 2)
    inputs = {"input_ids": torch.zeros(6, 4), TEXTS: torch.tensor([2, 2, 2])}
    found = PROBLEM.outputs(logits, inputs)
    assert found.shape == (3, 2, 2)
    assert found[1].tolist() == [[4, 5], [6, 7]]
    assert list(model_inputs(inputs)) == ["input_ids"]


def test_vectors_of_one_direction_are_learned() -> None:
    teacher = torch.randn(4, 2, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(4)
    assert float(PROBLEM.distillation_loss(3 * teacher, teacher, labels, 1.0)) == pytest.approx(
        0, abs=1e-6
    )
    away = -teacher
    # Each vector is opposite to its teacher's, all cosines are the same.
    assert float(PROBLEM.distillation_loss(away, teacher, labels, 1.0)) == pytest.approx(2)


def test_of_other_widths_the_cosines_are_learned() -> None:
    teacher = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    right, wrong = torch.eye(2)[None], torch.tensor([[[1.0, 0.0], [1.0, 1.0]]])
    assert float(PROBLEM.distillation_loss(right, teacher, torch.zeros(1), 1.0)) == 0
    # Of four cosines two are √½ instead of 0.
    assert float(PROBLEM.distillation_loss(wrong, teacher, torch.zeros(1), 9.0)) == pytest.approx(
        2 * 0.5 / 4
    )


def test_labels_are_cosines() -> None:
    pairs = torch.tensor([[[1.0, 0.0], [2.0, 0.0]], [[1.0, 0.0], [1.0, 1.0]]])
    assert cosines(pairs).tolist() == pytest.approx([1, math.sqrt(0.5)])
    loss = PROBLEM.loss(pairs, torch.tensor([5.0, 0.0]))
    assert float(loss) == pytest.approx(0.25)
    with pytest.raises(UserError, match="label_smoothing must be 0"):
        PROBLEM.loss(pairs, torch.tensor([5.0, 0.0]), 0.1)


def test_scores_are_those_of_scipy() -> None:
    generator = torch.Generator().manual_seed(1)
    kept = torch.randn(60, 2, 16, generator=generator)
    labels = torch.randint(0, 6, (60,), generator=generator).float()
    found = PROBLEM.evaluate(kept, labels)
    angles = functional.cosine_similarity(kept[:, 0].double(), kept[:, 1].double()).numpy()
    assert found.metric == "spearman"
    assert found.value == pytest.approx(stats.spearmanr(angles, labels.numpy())[0])
    expected = np.corrcoef(angles, labels.numpy())[0, 1]
    assert found.others == {"pearson": pytest.approx(expected), "index_bytes": 64}
    assert found.low < found.value < found.high
    same = PROBLEM.compare(kept, kept, labels)
    assert same.p_value == 1
    better = torch.stack([kept[:, 0], kept[:, 0]], dim=1)
    better[:, 1] += kept[:, 1] * (5.5 - labels)[:, None] / 3
    assert PROBLEM.compare(better, kept, labels).p_value < 0.01


def test_a_pooling_is_an_entry_of_the_config() -> None:
    assert PROBLEM.config() == {}
    assert TextSimilarity("cls", 1.0, VectorIndex(), 5.0).config() == {"sentence_pooling": ["cls"]}
