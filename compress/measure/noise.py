"""The noise floor: the measured speed-up of the baseline over itself, once per sweep."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from compress.analysis.speedup import noise_floor
from compress.interfaces import Device
from compress.measure.environment import machine
from compress.measure.latency import TimedModel, measure_latency
from compress.store.manifest import MANIFEST
from compress.system.files import write_atomically
from compress.system.sources import file_digest

FILE = "noise_floor-{}.json"


def noise_floors(
    baseline: TimedModel, device: Device, seed: int, shared: Path
) -> tuple[float | None, ...]:
    """The noise floor at every shape of the benchmark, or Nones; see `records.Speedup`.

    Times the baseline against itself in two processes, as a run times it against a candidate. What
    one run of a sweep found, the others read: two that begin together both measure it.
    """
    if not device.benchmark.noise_floor:
        return (None,) * len(device.benchmark.shapes)
    key = _key(baseline, device)
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    path = shared / FILE.format(digest[:12])
    if not path.is_file():
        timings = measure_latency(baseline, baseline, device, seed)
        found = [noise_floor(timing.interval(seed)) for timing in timings.shapes]
        write_atomically(path, json.dumps({"key": key, "floors": found}, indent=1) + "\n")
    floors = json.loads(path.read_bytes())["floors"]
    return TypeAdapter(tuple[float, ...]).validate_python(floors)


def _key(baseline: TimedModel, device: Device) -> Mapping[str, Any]:
    """All that the floor depends on; it is measured again if any of it differs."""
    return {
        "machine": machine(),
        "device": device.label(),
        "torch": torch.__version__,
        "baseline": file_digest(baseline.folder / MANIFEST),
        "benchmark": device.benchmark.describe(),
    }
