"""Calibration against hand-worked cases and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    brier_score_loss,
    confusion_matrix,
    log_loss,
    precision_score,
    recall_score,
)

from compress.problem.classification import Classification
from compress.problem.multi_label import MultiLabel
from compress.problem.probabilities import (
    HIGHEST,
    LOWEST,
    calibration_error,
    detail,
    fit_temperature,
    reliability,
)
from compress.problem.regression import Regression

GENERATOR = np.random.default_rng(0)
LOGITS = torch.tensor(GENERATOR.normal(size=(300, 3)) * 2)
LABELS = torch.tensor([int(GENERATOR.choice(3, p=row)) for row in LOGITS.softmax(-1).numpy()])


def test_likelihood_and_squared_error_are_scikit_learns() -> None:
    likely, rows = LOGITS.softmax(-1).numpy(), LABELS.numpy()
    found = reliability(LOGITS, LABELS)
    assert found.nll == pytest.approx(log_loss(rows, likely))
    expected = sum(brier_score_loss(rows == k, likely[:, k]) for k in range(3))
    assert found.brier == pytest.approx(expected)


def test_the_calibration_error_by_hand() -> None:
    # Bins of 1/15: 0.62 and 0.65 share (0.6, 0.667], 0.95 is alone, 1.0 belongs to the last bin.
    confidence = torch.tensor([0.62, 0.65, 0.95, 1.0, 0.9])
    correct = torch.tensor([True, False, True, True, False])
    gaps = [abs((1 + 0) - (0.62 + 0.65)), abs((1 + 1) - (0.95 + 1.0)), abs(0 - 0.9)]
    assert calibration_error(confidence, correct) == pytest.approx(sum(gaps) / 5)


def test_certain_and_right_is_perfect_and_certain_and_wrong_is_the_worst() -> None:
    labels = torch.tensor([0, 1, 1])
    sure = torch.nn.functional.one_hot(labels, 2).double() * 200
    best, worst = reliability(sure, labels), reliability(sure, 1 - labels)
    assert (best.brier, best.ece, best.nll) == pytest.approx((0, 0, 0), abs=1e-12)
    assert (worst.brier, worst.ece, worst.nll) == pytest.approx((2.0, 1.0, 200.0))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_a_temperature_that_was_put_in_is_found(temperature: float) -> None:
    generator = np.random.default_rng(1)
    honest = torch.tensor(generator.normal(size=(20_000, 3)) * 2)
    drawn = (honest + torch.tensor(generator.gumbel(size=honest.shape))).argmax(dim=-1)
    found = fit_temperature(honest * temperature, drawn)
    assert found == pytest.approx(temperature, rel=0.03)
    losses = [
        float(torch.nn.functional.cross_entropy(honest * temperature / t, drawn))
        for t in (0.98 * found, found, 1.02 * found)
    ]
    assert losses[1] == min(losses)


def test_the_temperature_has_ends() -> None:
    labels = torch.tensor([0, 1])
    right = torch.nn.functional.one_hot(labels, 2).double()
    assert fit_temperature(right, labels) == pytest.approx(LOWEST, rel=0.01)
    assert fit_temperature(right, 1 - labels) == pytest.approx(HIGHEST, rel=0.01)


def test_classes_are_scikit_learns_and_what_is_unknown_is_null() -> None:
    found = detail(LOGITS, LABELS, ("a", "b", "c"), 1.5)
    rows, said = LABELS.numpy(), LOGITS.argmax(-1).numpy()
    assert found.confusion == tuple(map(tuple, confusion_matrix(rows, said).tolist()))
    for score, kind in (("precision", precision_score), ("recall", recall_score)):
        each = [getattr(one, score) for one in found.classes]
        assert each == pytest.approx(kind(rows, said, average=None).tolist())
    assert [one.support for one in found.classes] == np.bincount(rows).tolist()
    assert found.calibration is not None
    assert found.calibration.scaled == reliability(LOGITS / 1.5, LABELS)
    assert found.calibration.plain == reliability(LOGITS, LABELS)
    empty = detail(torch.tensor([[1.0, 0.0]]), torch.tensor([0]), ("a", "b"), 1.0).classes[1]
    assert (empty.support, empty.precision, empty.recall) == (0, None, None)


def test_many_classes_have_no_table() -> None:
    logits, labels = torch.eye(51), torch.arange(51)
    found = detail(logits, labels, tuple(map(str, range(51))), 1.0)
    assert (found.classes, found.confusion) == ((), ())
    assert found.calibration is not None
    assert math.isfinite(found.calibration.plain.nll)


def test_a_model_that_fell_apart_has_no_probabilities() -> None:
    problem = Classification(("a", "b"))
    logits, labels = torch.tensor([[math.nan, 0.0], [1.0, 0.0]]), torch.tensor([0, 1])
    assert problem.temperature(logits, labels) is None
    found = problem.detail(logits, labels, None)
    assert found.calibration is None
    assert len(found.classes) == 2
    assert problem.detail(logits, labels, 2.0).calibration is None


def test_answers_are_names() -> None:
    logits = torch.tensor([[1.0, 0.0], [-1.0, 2.0]])
    assert Classification(("a", "b")).answers(logits) == ["a", "b"]
    labels = MultiLabel(("x", "y"))
    assert labels.answers(logits) == ["x", "y"]
    assert labels.right_answers(torch.tensor([[1, 1], [0, 0]])) == ["x, y", "none"]
    assert Regression().answers(torch.tensor([[1.0]])) is None
