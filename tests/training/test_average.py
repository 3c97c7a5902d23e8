from __future__ import annotations

import pytest
import torch
from torch import nn

from compress.training.average import Average


def module_of(*values: float) -> nn.Module:
    made = nn.Linear(len(values), 1, bias=False)
    made.weight.data = torch.tensor([values])
    return made


@pytest.mark.parametrize(
    ("decay", "expected"),
    [
        # d is 1/10, 2/11 and 3/12: 0.1 · 8 + 0.9 · 0, then 2/11 · 0.8 + 9/11 · 11, then
        # 1/4 · (1.6 + 99) / 11 + 3/4 · 4.
        (0.999, [0.8, 100.6 / 11, 100.6 / 44 + 3]),
        (0.15, [0.8, 0.15 * 0.8 + 0.85 * 11, 0.15 * (0.12 + 9.35) + 0.85 * 4]),
    ],
)
def test_by_hand(decay: float, expected: list[float]) -> None:
    module = module_of(8.0)
    average = Average(module, decay)
    for step, value in enumerate([0.0, 11.0, 4.0]):
        with torch.no_grad():
            module.weight.fill_(value)
        average.update(step)
        with average.applied():
            assert module.weight.item() == pytest.approx(expected[step])
        assert module.weight.item() == value
    average.swap()
    assert module.weight.item() == pytest.approx(expected[-1])


def test_zeros_stay_zeros_and_what_does_not_train_stays_as_it_is() -> None:
    module = nn.Sequential(module_of(0.0, 2.0), module_of(5.0))
    module[1].weight.requires_grad_(False)
    average = Average(module, 0.9)
    for step in range(3):
        module[0].weight.data = torch.tensor([[0.0, float(step)]])
        average.update(step)
    average.swap()
    zero, other = module[0].weight[0].tolist()
    assert zero == 0
    assert 0 < other < 2
    assert module[1].weight.item() == 5


def test_without_a_decay_the_weights_are_kept() -> None:
    module = module_of(1.0)
    average = Average(module, None)
    module.weight.data.fill_(3.0)
    average.update(0)
    with average.applied():
        assert module.weight.item() == 3
    average.swap()
    assert module.weight.item() == 3
