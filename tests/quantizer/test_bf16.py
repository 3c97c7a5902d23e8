from __future__ import annotations

import copy

import torch

from compress.interfaces import CompressedModel
from compress.quantizer.bf16 import Bf16


def test_rounding_by_hand(teacher: CompressedModel) -> None:
    module = copy.deepcopy(teacher.module)
    weight = next(module.parameters())
    with torch.no_grad():
        weight[0, :3] = torch.tensor([1 + 2**-7, 1 + 2**-9, 2.0**100])
    Bf16().quantize_torch_(module)
    assert next(module.parameters())[0, :3].tolist() == [1 + 2**-7, 1.0, 2.0**100]
