from __future__ import annotations

from pathlib import Path

import pytest
import torch

from compress.device.cpu import HostMeter, own_bytes

MEGABYTE = 2**20
SMAPS = """\
55d0-55d1 r-xp 00000000 fe:00 12 /usr/lib/libtorch.so
Rss:               400 kB
Anonymous:           8 kB
55d1-55d2 rw-p 00000000 00:00 0
Rss:                64 kB
Anonymous:          64 kB
55d2-55d3 rw-p 00000000 00:00 0 [heap]
Rss:                32 kB
Anonymous:          32 kB
55d3-55d4 r--s 00000000 fe:00 13 /tmp/a model/weights.safetensors
Rss:                16 kB
Anonymous:           0 kB
55d4-55d5 r--s 00000000 fe:00 14 /tmp/a models/other.safetensors
Rss:               128 kB
Anonymous:           0 kB
"""


def test_own_bytes_by_hand() -> None:
    assert own_bytes(SMAPS.splitlines(), "/tmp/a model") == 1024 * (8 + 64 + 32 + 16)


def test_the_meter_weighs_what_is_made_after_it(tmp_path: Path) -> None:
    meter = HostMeter(tmp_path)
    before = meter.resident()
    if before is None:
        pytest.skip("this system does not say how much memory a process has")
    assert before < 10 * MEGABYTE  # the allocator may hand out fresh pages meanwhile
    kept = torch.zeros(40 * MEGABYTE, dtype=torch.uint8) + 1
    resident = meter.resident()
    peak = meter.peak(lambda: torch.zeros(60 * MEGABYTE, dtype=torch.uint8) + 1)
    assert resident is not None
    assert peak is not None
    assert 39 * MEGABYTE < resident < 50 * MEGABYTE
    # The zeros and the ones are there at once, for a moment.
    assert 115 * MEGABYTE < peak - resident < 130 * MEGABYTE
    del kept
