from __future__ import annotations

import math

import pytest
import torch

from compress.analysis.intervals import mcnemar_p_value, wilson_interval
from compress.problem.endings import Endings

CHOICE, WORD = Endings(several=True), Endings(several=False)


def kept(*rows: list[tuple[float, int]]) -> torch.Tensor:
    """Of each prediction of a row: how likely its token was, and whether it was the likeliest."""
    return torch.tensor([[[-math.log(p), 1.0, hit, 0.0] for p, hit in row] for row in rows])


def label(begin: int, end: int, characters: int, right: int) -> list[int]:
    return [begin, end, characters, right]


ABSENT = [0, 0, 0, 0]
# Of the first text the likelihoods are 1/4 · 1/2 and 1/4, the first prediction is of its own token;
# per character ln(8) / 6 and ln(4) / 2. Of the second one 1/2, 1/8 and none, with 1 and 1.
ROWS = kept(
    [(0.01, 0), (0.25, 0), (0.5, 0)],
    [(0.01, 0), (0.25, 0), (1e-9, 0)],
    [(0.5, 1), (1e-9, 0), (1e-9, 0)],
    [(0.125, 0), (1e-9, 0), (1e-9, 0)],
)
LABELS = torch.tensor(
    [
        [label(1, 3, 6, 1), label(1, 2, 2, 0), ABSENT],
        [label(0, 1, 1, 1), label(0, 1, 1, 0), ABSENT],
    ]
)


def test_the_likeliest_ending_is_the_answer() -> None:
    found = CHOICE.evaluate(ROWS, LABELS)
    assert (found.metric, found.value) == ("accuracy", 0.5)
    assert (found.low, found.high) == wilson_interval(1, 2)
    assert found.others == {"accuracy_by_length": 1.0}


def test_an_only_ending_is_right_if_greedy_decoding_writes_all_of_it() -> None:
    rows = kept(
        [(0.5, 1), (0.5, 1), (0.1, 0)],
        [(0.1, 0), (0.5, 1), (0.25, 1)],
        [(0.5, 1), (0.25, 0), (0.5, 1)],
    )
    labels = torch.tensor([[label(0, 2, 3, 1)], [label(1, 3, 3, 1)], [label(0, 2, 3, 1)]])
    found = WORD.evaluate(rows, labels)
    assert found.value == pytest.approx(2 / 3)
    # 1/4, 1/8 and 1/8: the eighth power of two, over three texts.
    assert found.others == {"ending_perplexity": pytest.approx(2 ** (8 / 3))}


def test_two_models_are_compared_on_texts() -> None:
    other = ROWS.clone()
    other[0, 1, 0] = 0.0  # now the right ending of the first text is the likeliest
    found = CHOICE.compare(other, ROWS, LABELS)
    assert (found.agreement, found.n_regressed, found.n_improved) == (0.5, 0, 1)
    assert found.p_value == mcnemar_p_value(0, 1)
    back = CHOICE.compare(ROWS, other, LABELS)
    assert (back.n_regressed, back.n_improved) == (1, 0)
