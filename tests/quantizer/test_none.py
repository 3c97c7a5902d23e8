from __future__ import annotations

import copy

import torch

from compress.interfaces import CompressedModel
from compress.quantizer.none import NoQuantizer


def test_none_changes_nothing(teacher: CompressedModel) -> None:
    module = copy.deepcopy(teacher.module)
    NoQuantizer().quantize_torch_(module)
    pairs = zip(module.parameters(), teacher.module.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
