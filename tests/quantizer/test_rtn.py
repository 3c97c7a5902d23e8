from __future__ import annotations

import pytest
import torch
from torch import nn

from compress.quantizer.rtn import Rtn
from tests.configs import settings_of


def rounded(weight: list[float], *settings: str) -> list[float]:
    """What a Linear of one row multiplies by after rounding."""
    format_ = settings_of("quantizer", "rtn", *settings)
    assert isinstance(format_, Rtn)
    linear = nn.Linear(len(weight), 1, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([weight]))
    found: list[float] = format_.quantized(linear).matrix()[0].tolist()
    return found


def test_each_group_has_the_grid_of_its_own_range() -> None:
    """Two bits are four codes: of 0 to 3 with step 1, and of −4 to 8 with step 4."""
    settings = ("quantizer.bits=2", "quantizer.group_size=4", "quantizer.symmetric=false")
    found = rounded([0.0, 0.6, 1.4, 3.0, -4.0, 1.9, 2.1, 8.0], *settings)
    assert found == pytest.approx([0.0, 1.0, 1.0, 3.0, -4.0, 0.0, 4.0, 8.0])


def test_a_symmetric_grid_has_its_zero_in_the_middle() -> None:
    """Two bits are the codes −2, −1, 0 and 1 of a signed step, the largest magnitude at −2."""
    settings = ("quantizer.bits=2", "quantizer.group_size=4", "quantizer.symmetric=true")
    assert rounded([4.0, 2.0, 0.0, -2.0], *settings) == pytest.approx([4.0, 2.0, 0.0, -2.0])
    assert rounded([-4.0, 2.0, 0.0, -2.0], *settings) == pytest.approx([-4.0, 2.0, 0.0, -2.0])
