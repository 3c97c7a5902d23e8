from __future__ import annotations

import copy

import pytest
import torch

from compress.config.errors import UserError
from compress.interfaces import CompressedModel
from compress.quantizer.fp16 import Fp16


def test_rounding_by_hand(teacher: CompressedModel) -> None:
    module = copy.deepcopy(teacher.module)
    weight = next(module.parameters())
    with torch.no_grad():
        weight[0, :4] = torch.tensor([1 + 2**-10, 1 + 2**-12, 65504.0, 2**-26])
    Fp16().quantize_torch_(module)
    assert next(module.parameters())[0, :4].tolist() == [1 + 2**-10, 1.0, 65504.0, 0.0]


def test_a_weight_outside_its_range_is_refused(teacher: CompressedModel) -> None:
    module = copy.deepcopy(teacher.module)
    with torch.no_grad():
        next(module.parameters())[0, 0] = 70_000
    with pytest.raises(UserError, match="has a weight of 70000, float16 ends at 65504"):
        Fp16().quantize_torch_(module)
