"""The noise floor: the measured speed-up of the baseline over itself, once per sweep."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from pydantic import TypeAdapter

from compress.analysis.speedup import noise_floor
from compress.interfaces import Device
from compress.measure.environment import versions
from compress.measure.latency import TimedModel, measure_latency
from compress.measure.sharing import conditions, keyed_file
from compress.system.files import write_atomically

log = logging.getLogger(__name__)

FILE = "noise_floor-{}.json"


def noise_floors(
    baseline: TimedModel, graph: str, device: Device, seed: int, shared: Path
) -> tuple[float | None, ...]:
    """The noise floor at every shape of the benchmark, or Nones; see `records.Speedup`.

    Times the baseline against itself in two processes, as a run times it against a candidate. What
    one run of a sweep found, the others with the same baseline `graph` read: two that begin
    together both measure it.
    """
    if not device.benchmark.noise_floor:
        return (None,) * len(device.benchmark.shapes)
    # The baseline runs in torch whatever the candidate does: one floor for all runtimes.
    key = {**conditions(device), "versions": versions(), "baseline": graph}
    path = keyed_file(shared, FILE, key)
    if not path.is_file():
        log.info("timing: the teacher against itself …")
        timings = measure_latency(baseline, baseline, device, seed)
        found = [noise_floor(timing.interval(seed)) for timing in timings.shapes]
        write_atomically(path, json.dumps({"key": key, "floors": found}, indent=1) + "\n")
    floors = json.loads(path.read_bytes())["floors"]
    return TypeAdapter(tuple[float, ...]).validate_python(floors)
