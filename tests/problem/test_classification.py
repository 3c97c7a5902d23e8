from __future__ import annotations

import math

import pytest
import torch

from compress.problem.classification import Classification, mcc, positive_f1, top5
from compress.records.schema import Comparison


def logits_of(predicted: list[int], classes: int) -> torch.Tensor:
    return torch.eye(classes)[predicted]


@pytest.mark.parametrize(
    ("labels", "predicted", "f1", "correlation"),
    [
        # P = 2/3, R = 2/4; (2·3 - 1·2) / √(3 · 4 · 4 · 5)
        ([1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 1, 0, 0, 0], 4 / 7, (2 * 3 - 2) / 240**0.5),
        ([1, 0, 1, 0], [1, 0, 1, 0], 1.0, 1.0),
        ([1, 0, 1, 0], [0, 1, 0, 1], 0.0, -1.0),
        # Undefined: nothing correlates with a constant.
        ([1, 0, 1, 0], [1, 1, 1, 1], 2 / 3, 0.0),
        ([1, 1, 1], [1, 0, 1], 0.8, 0.0),
        ([1, 1], [1, 1], 1.0, 0.0),
        ([0, 0], [0, 0], 0.0, 0.0),
        ([1, 0], [0, 0], 0.0, 0.0),
    ],
)
def test_the_scores_of_glue_by_hand(
    labels: list[int], predicted: list[int], f1: float, correlation: float
) -> None:
    found = [of(logits_of(predicted, 2), torch.tensor(labels)) for of in (positive_f1, mcc)]
    assert found == pytest.approx([f1, correlation])


def test_top5_by_hand() -> None:
    logits = torch.tensor([[6.0, 5.0, 4.0, 3.0, 2.0, 1.0]] * 4)
    assert top5(logits, torch.tensor([0, 4, 5, 5])) == 0.5


def test_rows_are_judged_by_what_was_asked_for() -> None:
    logits, labels = logits_of([0, 1, 1, 1], 2), torch.tensor([0, 1, 0, 1])
    made = Classification(("a", "b"), ("f1", "mcc")).evaluate(logits, labels)
    assert made.others == pytest.approx({"f1": 0.8, "mcc": 2 / 12**0.5})
    assert made.value == 0.75
    assert Classification(("a", "b"), ()).evaluate(logits, labels).others == {}


def test_class_weights_by_hand() -> None:
    """Odds of 3 to 1: the loss of class 0 counts once, that of class 1 three times."""
    logits, labels = torch.tensor([[math.log(3), 0.0]] * 2), torch.tensor([0, 1])
    weighted = Classification(("a", "b"), weights=(1.0, 3.0)).loss(logits, labels)
    assert float(weighted) == pytest.approx((-math.log(0.75) - 3 * math.log(0.25)) / 4)


def test_predictions_are_compared_row_by_row() -> None:
    classes = torch.eye(3)
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 2, 2])
    three = Classification(("a", "b", "c"))
    baseline = classes[[0, 0, 1, 0, 2, 2, 0, 0]]
    candidate = classes[[0, 1, 0, 1, 2, 0, 0, 1]]
    # Equal: rows 0, 4, 6. Lost: 1, 2, 5. Won: 3. Row 7: both wrong, not alike.
    found = three.compare(candidate, baseline, labels)
    assert found == Comparison(
        agreement=3 / 8, n_regressed=3, n_improved=1, p_value=2 * (1 + 4) / 16
    )
    same = three.compare(baseline, baseline, labels)
    assert same == Comparison(agreement=1.0, n_regressed=0, n_improved=0, p_value=1.0)
