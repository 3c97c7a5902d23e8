from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from compress.training import optimizer as steps
from compress.training.optimizer import SMALLEST_MOMENT, extend_, flush_moments_

SMALLEST_NORMAL = torch.finfo(torch.float32).tiny


def test_tiny_moments_become_zero_and_others_stay() -> None:
    weight = nn.Parameter(torch.zeros(6))
    optimizer = torch.optim.AdamW([weight])
    weight.grad = torch.zeros(6)
    optimizer.step()
    values = torch.tensor([1e-40, -1e-40, 9e-31, -2e-30, 1.0, torch.nan])
    for name in ("exp_avg", "exp_avg_sq"):
        optimizer.state[weight][name].copy_(values)
    flush_moments_(optimizer)
    for name in ("exp_avg", "exp_avg_sq"):
        kept = optimizer.state[weight][name]
        assert kept[:5].tolist() == [0, 0, 0, values[3].item(), 1]
        assert kept[5].isnan()


def train_table(flushed: bool, monkeypatch: pytest.MonkeyPatch) -> tuple[torch.Tensor, Any]:
    """A table of which row 0 has a gradient in the first step alone, row 1 in all of them."""
    monkeypatch.setattr(steps, "FLUSH_STEPS", 100 if flushed else 10**9)
    torch.manual_seed(0)
    table = nn.Parameter(torch.randn(2, 8))
    optimizer = torch.optim.AdamW([table], lr=1e-3, weight_decay=0.01, fused=True)
    extend_(optimizer, (), {})
    for step in range(900):
        table.grad = torch.randn(2, 8) * 0.01
        table.grad[0] *= step == 0
        optimizer.step()
    return table.detach(), optimizer.state[table]["exp_avg"][0]


def test_a_row_without_gradients_has_no_denormal_moment_and_the_same_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain, denormal = train_table(False, monkeypatch)
    flushed, moment = train_table(True, monkeypatch)
    assert ((denormal != 0) & (denormal.abs() < SMALLEST_NORMAL)).any()
    assert not moment.any()
    assert torch.equal(plain, flushed)


def test_between_two_flushes_a_moment_stays_normal() -> None:
    assert SMALLEST_MOMENT * 0.9**steps.FLUSH_STEPS > SMALLEST_NORMAL


def test_added_parameters_learn_and_masked_weights_stay_zero() -> None:
    weight, beside = nn.Parameter(torch.tensor([0.0, 1.0])), nn.Parameter(torch.ones(1))
    optimizer = torch.optim.AdamW([weight], lr=0.1)
    extend_(optimizer, [{"params": [beside]}], {weight: weight.detach() != 0})
    weight.grad, beside.grad = torch.ones(2), torch.ones(1)
    optimizer.step()
    assert weight[0] == 0
    assert weight[1] < 1
    assert beside < 1
