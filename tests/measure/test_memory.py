from __future__ import annotations

import torch
from torch import nn

from compress.measure.memory import LiveTensors


def test_live_tensors_by_hand() -> None:
    """10 → 1000 → 10: while the second layer runs, its input, its output and x are alive."""
    wide, narrow = nn.Linear(10, 1000), nn.Linear(1000, 10)
    x = torch.zeros(7, 10)
    with torch.inference_mode(), LiveTensors() as live:
        live.add(x.untyped_storage())
        narrow(wide(x))
    assert live.peak == 4 * 7 * (10 + 1000 + 10)
