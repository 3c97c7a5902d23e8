"""A tag for each word: losses by hand, scores as seqeval gives them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from compress.core.problem import PLACES
from compress.problem.per_token import IGNORED
from compress.problem.token_classification import TokenClassification

NAMES = ("O", "B-a", "I-a", "B-b", "I-b")
PROBLEM = TokenClassification(NAMES)


def labels_of(rows: list[tuple[int, list[int]]]) -> Tensor:
    found = torch.full((len(rows), 1 + max(len(tags) for _, tags in rows)), IGNORED)
    for number, (sentence, tags) in enumerate(rows):
        found[number, : 1 + len(tags)] = torch.tensor([sentence, *tags])
    return found


def said(rows: list[list[int]]) -> Tensor:
    """Logits of these tags, with zeros behind them."""
    width = max(map(len, rows))
    found = torch.zeros(len(rows), width, len(NAMES))
    for number, tags in enumerate(rows):
        for place, tag in enumerate(tags):
            found[number, place, tag] = 1.0
    return found


def test_the_first_token_of_a_word_speaks_for_it() -> None:
    logits = torch.arange(12.0).view(1, 4, 3)
    inputs = {PLACES: torch.tensor([[1, 3, -1]])}
    found = PROBLEM.outputs(logits, inputs)
    assert found.tolist() == [[[3, 4, 5], [9, 10, 11], [0, 0, 0]]]
    assert torch.equal(PROBLEM.kept(logits, inputs), found)


def test_losses_are_means_over_words_that_count() -> None:
    labels, inputs = labels_of([(0, [1, IGNORED]), (1, [0])]), {PLACES: torch.tensor([[0, 1]] * 2)}
    targets = PROBLEM.targets(labels, inputs)
    assert targets.tolist() == [[1, IGNORED], [0, IGNORED]]
    logits = torch.zeros(2, 2, len(NAMES))
    logits[0, 0, 1] = math.log(4)  # 4 of 8
    expected = (math.log(2) + math.log(5)) / 2
    assert float(PROBLEM.loss(logits, targets)) == pytest.approx(expected)
    teacher = torch.zeros(2, 2, len(NAMES))
    teacher[:, 1] = 9.0 * torch.rand(2, len(NAMES))  # words that do not count
    one = [1 / 5 * math.log(1 / 5 / (p / 8)) for p in (1, 4, 1, 1, 1)]
    found = PROBLEM.distillation_loss(logits, teacher, targets, 1.0)
    assert float(found) == pytest.approx(sum(one) / 2)


def random_tags(sentences: int, seed: int) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [
        random.choice(len(NAMES), size=size, p=[0.6, 0.1, 0.1, 0.1, 0.1]).tolist()
        for size in random.integers(1, 9, size=sentences)
    ]


def test_scores_are_those_of_seqeval() -> None:
    from seqeval.metrics import f1_score, precision_score, recall_score

    right = random_tags(60, 0)
    ours = [tags if number % 3 else [0] * len(tags) for number, tags in enumerate(right)]
    ours[1] = [(tag + 1) % len(NAMES) for tag in ours[1]]
    found = PROBLEM.evaluate(said(ours), labels_of(list(enumerate(right))))
    named = [[[NAMES[tag] for tag in tags] for tags in rows] for rows in (right, ours)]
    assert (found.metric, found.value) == ("entity_f1", pytest.approx(f1_score(*named)))
    assert found.others["entity_precision"] == pytest.approx(precision_score(*named))
    assert found.others["entity_recall"] == pytest.approx(recall_score(*named))
    assert found.low < found.value < found.high
    words = [pair for both in zip(*named, strict=True) for pair in zip(*both, strict=True)]
    assert found.others["tag_accuracy"] == pytest.approx(np.mean([a == b for a, b in words]))


def test_a_sentence_in_several_rows_is_one() -> None:
    """The entity goes on in the second row, whose first word the first row has judged."""
    whole = PROBLEM.evaluate(said([[0, 1, 2, 2, 0]]), labels_of([(4, [0, 1, 2, 2, 0])]))
    rows = labels_of([(4, [0, 1, 2, IGNORED]), (4, [IGNORED, 2, 0])])
    parts = PROBLEM.evaluate(said([[0, 1, 2, 0], [1, 2, 0]]), rows)
    assert parts == whole
    assert whole.value == 1


def test_models_are_compared_over_sentences() -> None:
    right = random_tags(200, 1)
    labels = labels_of(list(enumerate(right)))
    worse = [tags if number % 4 else [0] * len(tags) for number, tags in enumerate(right)]
    same = PROBLEM.compare(said(right), said(right), labels)
    assert (same.agreement, same.p_value, same.standard_error) == (1, 1, 0)
    found = PROBLEM.compare(said(worse), said(right), labels)
    assert found.p_value < 0.001
    assert found.agreement is not None
    assert 0.8 < found.agreement < 1
    assert found.standard_error is not None
    assert 0.005 < found.standard_error < 0.1


def test_nothing_found_and_nothing_to_find_is_no_error() -> None:
    found = PROBLEM.evaluate(said([[0, 0]]), labels_of([(0, [0, 0])]))
    assert (found.value, found.others["entity_precision"]) == (0, 0)
