from __future__ import annotations

import pytest
import torch

from compress.interfaces import Step
from compress.measure.sparsity import WeightCount, check_claims, count_weights
from compress.records import LayerWeights

WEIGHTS = [
    ("inner", torch.tensor([[0.0, 1.0], [0.0, 0.0]])),
    ("packed", torch.tensor([[0, 3]], dtype=torch.int8)),
    ("outer", torch.tensor([0.0, 5.0])),
]


def test_by_hand() -> None:
    found = count_weights(WEIGHTS, {"inner", "packed"})
    layers = (LayerWeights("inner", (2, 2), zeros=3), LayerWeights("packed", (1, 2), zeros=1))
    assert found == WeightCount(total=8, zeros=5, layers=layers)
    assert (found.compressible, found.compressible_zeros) == (6, 4)


def test_claims_hold_for_the_last_stage_that_made_them() -> None:
    first = Step("pruner", {}, claimed_zeros={"inner": 4, "packed": 1})
    second = Step("pruner", {}, claimed_zeros={"inner": 3})
    check_claims([first, second], WEIGHTS)
    with pytest.raises(AssertionError, match="inner has 3 zeros, 4 were claimed"):
        check_claims([second, first], WEIGHTS)
    with pytest.raises(AssertionError, match="gone was pruned and is gone"):
        check_claims([Step("pruner", {}, claimed_zeros={"gone": 1})], WEIGHTS)
