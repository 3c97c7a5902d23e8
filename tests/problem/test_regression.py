from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from compress.config.errors import UserError
from compress.problem.regression import SCORES_OF_NUMBERS, Regression
from compress.records.scores import SCORES

STARS = Regression("stars")


def outputs(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers)[:, None]


def test_losses_by_hand() -> None:
    """Squared distances 1 and 9 from the labels, 0 and 4 from the teacher."""
    student, teacher, labels = outputs(1.0, 5.0), outputs(1.0, 3.0), torch.tensor([2.0, 2.0])
    assert float(STARS.loss(student, labels)) == 5.0
    for temperature in (1.0, 4.0):
        assert float(STARS.distillation_loss(student, teacher, labels, temperature)) == 2.0


def test_labels_are_not_smoothed() -> None:
    with pytest.raises(UserError, match=r"label_smoothing must be 0 for numbers, got 0\.1"):
        STARS.loss(outputs(1.0), torch.tensor([1.0]), label_smoothing=0.1)


def test_the_config_has_one_named_output() -> None:
    assert STARS.config() == {
        "num_labels": 1,
        "id2label": {0: "stars"},
        "label2id": {"stars": 0},
        "problem_type": "regression",
    }


def test_scores_by_hand() -> None:
    """Ranks 1 2 4 3 beside 1 2 3 4; deviations -2 -1 2 1 beside -3 -1 1 3; errors 1 0 1 -2."""
    labels = torch.tensor([0.0, 2.0, 4.0, 6.0])
    made = STARS.evaluate(outputs(1.0, 2.0, 5.0, 4.0), labels)
    assert (made.metric, made.value) == ("spearman", pytest.approx(1 - 6 * 2 / 60))
    assert made.low < 0.8 < made.high
    expected = {"pearson": 12 / (10 * 20) ** 0.5, "rmse": 1.5**0.5}
    assert made.others == pytest.approx(expected)
    assert (made.metric, *made.others) == SCORES_OF_NUMBERS
    assert set(SCORES_OF_NUMBERS) <= set(SCORES)


def test_what_always_says_the_same_has_no_correlation() -> None:
    made = STARS.evaluate(outputs(2.0, 2.0, 2.0, 2.0), torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert (made.value, made.others["pearson"]) == (0.0, 0.0)


def noisy(labels: torch.Tensor, noise: float, seed: int) -> torch.Tensor:
    drawn = torch.randn(len(labels), generator=torch.Generator().manual_seed(seed))
    return (labels + noise * drawn)[:, None]


LABELS = torch.linspace(0, 5, 1500)


def test_models_are_compared_by_how_they_rank() -> None:
    found = STARS.compare(noisy(LABELS, 1.0, 1), noisy(LABELS, 1.5, 2), LABELS)
    assert (found.agreement, found.n_regressed, found.n_improved) == (None, None, None)
    assert found.p_value < 0.001
    assert found.test == "paired permutation test of Spearman's correlation, 10,000 draws"
    same = STARS.compare(noisy(LABELS, 1.0, 1), noisy(LABELS, 1.0, 1), LABELS)
    assert same.p_value == 1.0
    # Only ranks matter.
    assert STARS.compare(noisy(LABELS, 1.0, 1).exp(), noisy(LABELS, 1.0, 1), LABELS).p_value == 1.0


def test_ranks_given_anew_in_each_draw_would_change_nothing() -> None:
    labels = LABELS[::30]
    ours, theirs = noisy(labels, 1.5, 5), noisy(labels, 2.0, 6)
    ranks = [scipy.stats.rankdata(each[:, 0]) for each in (ours, theirs)]
    swap = np.random.default_rng(1).integers(2, size=(10_000, len(labels))).astype(bool)

    def spearman(values: np.ndarray) -> np.ndarray:
        anew = scipy.stats.rankdata(values, axis=-1) - (len(labels) + 1) / 2
        right = scipy.stats.rankdata(labels) - (len(labels) + 1) / 2
        return anew @ right / np.sqrt((anew**2).sum(axis=-1) * (right**2).sum())

    drawn = spearman(np.where(swap, *ranks)) - spearman(np.where(swap, *ranks[::-1]))
    observed = spearman(ranks[0]) - spearman(ranks[1])
    expected = (np.abs(drawn) >= abs(observed)).mean()
    assert STARS.compare(ours, theirs, labels).p_value == pytest.approx(expected, abs=0.015)
