from __future__ import annotations

import math

import pytest
import sklearn.metrics
import torch

from compress.problem.multi_label import SCORES_OF_LABELS, WITH_WEIGHTS, MultiLabel
from compress.records.scores import SCORES

AB = MultiLabel(("a", "b"))
LN3 = math.log(3)


def said(*rows: str) -> torch.Tensor:
    """Logits of answers such as "10"."""
    return labels(*rows) * 2.0 - 1


def labels(*rows: str) -> torch.Tensor:
    return torch.tensor([[int(answer) for answer in row] for row in rows])


def test_the_loss_by_hand() -> None:
    """Odds of 3 to 1 for a, which holds, and even ones for b, which does not."""
    logits, right = torch.tensor([[LN3, 0.0]]), labels("10")
    hits, even = -math.log(0.75), math.log(2)
    assert float(AB.loss(logits, right)) == pytest.approx((hits + even) / 2)
    # Smoothed by 0.2, "yes" is 0.9 of a yes and "no" is 0.1 of one.
    smoothed = 0.9 * hits - 0.1 * math.log(0.25)
    assert float(AB.loss(logits, right, 0.2)) == pytest.approx((smoothed + even) / 2)
    weighted = MultiLabel(("a", "b"), weights=(5.0, 7.0))
    assert float(weighted.loss(logits, right)) == pytest.approx((5 * hits + even) / 2)


def test_the_soft_loss_by_hand() -> None:
    """The teacher says 3 to 1 at T = 2 of one label, the student even; of the other both even."""
    student, teacher = torch.zeros(1, 2), torch.tensor([[2 * LN3, 0.0]])
    divergence = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    found = AB.distillation_loss(student, teacher, labels("10"), 2.0)
    assert float(found) == pytest.approx(4 * divergence / 2)
    assert float(AB.distillation_loss(teacher, teacher, labels("10"), 2.0)) == pytest.approx(
        0.0, abs=1e-6
    )


def test_the_soft_loss_is_on_the_scale_of_the_loss() -> None:
    """A teacher without a doubt is the labels."""
    student, right = torch.tensor([[0.3, -1.0], [2.0, 0.1]]), labels("10", "01")
    sure = said("10", "01") * 50
    assert float(AB.distillation_loss(student, sure, right, 1.0)) == pytest.approx(
        float(AB.loss(student, right)), rel=1e-5
    )
    many = MultiLabel(tuple("abcd"))
    twice = [torch.cat([each, each], dim=1) for each in (student, sure, right)]
    assert float(many.distillation_loss(*twice, 1.0)) == pytest.approx(
        float(AB.distillation_loss(student, sure, right, 1.0))
    )


RIGHT = ("100", "110", "000", "010")
SAID = ("100", "100", "010", "010")


def test_scores_by_hand() -> None:
    """Of a 2 hits and no error; of b 1 hit, 1 too few, 1 too many; of c nothing at all."""
    three = MultiLabel(("a", "b", "c"), weights=(1.0, 3.0, 4.0))
    made = three.evaluate(said(*SAID), labels(*RIGHT))
    assert (made.metric, made.value) == ("f1_micro", pytest.approx(6 / 8))
    assert made.low < made.value < made.high
    assert made.others == pytest.approx(
        {
            "f1_macro": (1 + 0.5 + 0) / 3,
            "f1_weighted": (2 * 1 + 2 * 0.5) / 4,
            "hamming_loss": 2 / 12,
            "exact_match": 0.5,
            "f1_class_weighted": (1 + 3 * 0.5 + 0) / 8,
            "f1/a": 1.0,
            "f1/b": 0.5,
            "f1/c": 0.0,
        }
    )
    plain = MultiLabel(("a", "b", "c")).evaluate(said(*SAID), labels(*RIGHT))
    assert {**plain.others, "f1_class_weighted": made.others["f1_class_weighted"]} == made.others
    assert {*SCORES_OF_LABELS, WITH_WEIGHTS} <= set(SCORES)
    assert set(SCORES_OF_LABELS) <= {made.metric, *made.others}


def test_nothing_said_and_nothing_right_is_no_score() -> None:
    made = AB.evaluate(said("00", "00"), labels("00", "00"))
    assert (made.value, made.low, made.high) == (0.0, 0.0, 0.0)
    assert made.others["exact_match"] == 1.0


def test_labels_called_as_scores_take_nobodys_place() -> None:
    names = ("macro", "micro", "quality", "a|b\n<script>")
    made = MultiLabel(names).evaluate(said("1000", "0111"), labels("1000", "0111"))
    assert len(made.others) == 4 + len(names)
    assert made.others["f1_macro"] == 1.0


def drawn(seed: int, noise: float, right: torch.Tensor) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return right * 2.0 - 1 + noise * torch.randn(right.shape, generator=generator)


def test_scores_are_scikit_learns() -> None:
    right = (torch.rand(80, 5, generator=torch.Generator().manual_seed(0)) < 0.3).long()
    logits = drawn(1, 1.0, right)
    made = MultiLabel(tuple("abcde")).evaluate(logits, right)
    for mean in ("macro", "weighted"):
        expected = sklearn.metrics.f1_score(right, logits > 0, average=mean, zero_division=0.0)
        assert made.others[f"f1_{mean}"] == pytest.approx(expected)
    assert made.value == pytest.approx(
        sklearn.metrics.f1_score(right, logits > 0, average="micro", zero_division=0.0)
    )
    each = sklearn.metrics.f1_score(right, logits > 0, average=None, zero_division=0.0)
    assert [made.others[f"f1/{name}"] for name in "abcde"] == pytest.approx(list(each))


def test_models_are_compared_by_f1_and_by_rows() -> None:
    right = labels(*RIGHT)
    baseline, candidate = said(*SAID), said("100", "110", "010", "000")
    found = MultiLabel(("a", "b", "c")).compare(candidate, baseline, right)
    # Alike: rows 1 and 3. Exactly right of both: row 1. Won: row 2. Lost: row 4.
    assert (found.agreement, found.n_regressed, found.n_improved) == (0.5, 1, 1)
    # 2 · 3 / (2 · 3 + 2) of either.
    assert found.p_value == 1.0
    assert found.test == "paired permutation test of micro F1, 10,000 draws"


def test_a_better_model_is_told_from_chance() -> None:
    right = (torch.rand(300, 5, generator=torch.Generator().manual_seed(0)) < 0.3).long()
    good, bad, alike = (drawn(*how, right) for how in ((1, 0.8), (2, 1.5), (3, 0.8)))
    five = MultiLabel(tuple("abcde"))
    assert five.compare(good, bad, right).p_value < 0.001
    assert five.compare(good, alike, right).p_value > 0.05
