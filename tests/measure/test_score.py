from __future__ import annotations

import pytest
import scipy.stats
import torch

from compress.interfaces import CompressedModel
from compress.measure.score import (
    compare,
    matthews,
    mcnemar_p_value,
    positive_f1,
    predict_all,
    score,
    top5,
    wilson_interval,
)
from compress.records import Comparison
from compress.runtime.torch import TorchModel
from tests.conftest import make_split


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [
        # 0.5 ± 1.96 · √(0.25/10 + 3.8416/400) / (1 + 0.38416), and the closed forms at the ends
        (5, 10, 0.23659, 0.76341),
        (0, 10, 0.0, 0.27754),
        (10, 10, 0.72246, 1.0),
        (81, 263, 0.25529, 0.36621),  # Newcombe 1998, table I, method 3
        (15, 148, 0.06245, 0.16055),  # likewise
    ],
)
def test_wilson_interval(correct: int, total: int, low: float, high: float) -> None:
    assert wilson_interval(correct, total) == pytest.approx((low, high), abs=1e-4)


def test_score_by_hand() -> None:
    split = make_split(4)  # labels 0 1 0 1
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    made = score(logits, split, batch_size=2)
    assert made.accuracy == 0.75
    # class 0: P = 1, R = 1/2, F1 = 2/3; class 1: P = 2/3, R = 1, F1 = 4/5
    assert made.f1_macro == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert (made.samples, made.batch_size, made.split) == (4, 2, "train")


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
    found = [of(logits_of(predicted, 2), torch.tensor(labels)) for of in (positive_f1, matthews)]
    assert found == pytest.approx([f1, correlation])


def test_top5_by_hand() -> None:
    logits = torch.tensor([[6.0, 5.0, 4.0, 3.0, 2.0, 1.0]] * 4)
    assert top5(logits, torch.tensor([0, 4, 5, 5])) == 0.5


def test_a_score_has_what_the_task_asks_for() -> None:
    split = make_split(4)  # labels 0 1 0 1
    made = score(logits_of([0, 1, 1, 1], 2), split, 2, ("f1", "matthews"))
    assert made.others == pytest.approx({"f1": 0.8, "matthews": 2 / 12**0.5})
    assert score(logits_of([0, 1, 1, 1], 2), split, 2).others == {}


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_predictions_come_in_the_rows_order(batch_size: int, teacher: CompressedModel) -> None:
    model, split = TorchModel(teacher.module, teacher.tokenizer, "cpu"), make_split(7)
    rows = split.encode(teacher.tokenizer).remove_columns("length")
    alone = [model.predict({k: torch.tensor([v]) for k, v in row.items()}) for row in rows]
    assert torch.allclose(predict_all(model, split, batch_size), torch.cat(alone), atol=1e-5)


@pytest.mark.parametrize(
    ("lost", "won", "p_value"),
    [
        (0, 0, 1.0),
        (3, 3, 1.0),
        (0, 1, 1.0),
        (0, 5, 2 / 32),
        (0, 6, 2 / 64),
        (1, 9, 2 * (1 + 10) / 1024),
        (9, 1, 2 * (1 + 10) / 1024),
        (6, 16, 0.0525),  # https://en.wikipedia.org/wiki/McNemar's_test, second example
        (86, 150, 3.7e-5),  # Agresti, Categorical Data Analysis, table 10.1: approval of one man
        (0, 3000, 2.0**-2999),
    ],
)
def test_mcnemars_exact_test(lost: int, won: int, p_value: float) -> None:
    found = mcnemar_p_value(lost, won)
    assert found == pytest.approx(p_value, rel=0.01)
    if lost + won:
        assert found == pytest.approx(scipy.stats.binomtest(lost, lost + won).pvalue, rel=1e-9)


def test_predictions_are_compared_row_by_row() -> None:
    classes = torch.eye(3)
    labels = [0, 0, 1, 1, 2, 2, 2, 2]
    baseline = classes[[0, 0, 1, 0, 2, 2, 0, 0]]
    candidate = classes[[0, 1, 0, 1, 2, 0, 0, 1]]
    # Equal: rows 0, 4, 6. Lost: 1, 2, 5. Won: 3. Row 7: both wrong, not alike.
    found = compare(candidate, baseline, labels)
    assert found == Comparison(agreement=3 / 8, lost=3, won=1, p_value=2 * (1 + 4) / 16)
    same = compare(baseline, baseline, labels)
    assert same == Comparison(agreement=1.0, lost=0, won=0, p_value=1.0)
