"""What was measured of one runtime and format on this machine, in a file that grows."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from compress.config.errors import UserError, first_line
from compress.costs.family import Family
from compress.costs.space import Sizes
from compress.interfaces import Device, Quantizer
from compress.measure.environment import machine, versions
from compress.measure.sharing import keyed_file
from compress.store.cache_root import open_root
from compress.system.files import write_atomically

FOLDER, FILE = "costs", "costs-{}.json"


@dataclass(frozen=True)
class Sample:
    """One shape, exported and timed.

    Attributes:
        speedup: over the teacher, at each of the benchmark's shapes.
        baseline_ms: the teacher's median latency meanwhile.
        size_bytes: of the files that are needed to run the model.
        processor_bytes: of them, those of the tokenizer.
    """

    sizes: Sizes
    facts: dict[str, float]
    speedup: tuple[float, ...]
    baseline_ms: tuple[float, ...]
    size_bytes: int
    processor_bytes: int


@dataclass(frozen=True)
class Samples:
    """All samples of a runtime and a format.

    Attributes:
        conditions: what they depend on beside the shapes; names the file.
        baseline_bytes: the teacher's size.
        seconds: that all of them took to measure.
    """

    conditions: dict[str, Any]
    baseline_bytes: int
    found: tuple[Sample, ...] = field(default=())
    seconds: float = 0.0


def conditions(family: Family, device: Device, quantizer: Quantizer) -> dict[str, Any]:
    """What costs depend on beside a student's shape."""
    found = {
        "machine": machine(),
        "device": device.label(),
        "versions": versions(device),
        "runtime": device.runtime.describe(),
        "quantizer": quantizer.describe(),
        "benchmark_shapes": device.benchmark.shapes,
        "teacher": family.digest(),
        "space": family.space.describe(),
        "tokens": family.tokens(),
    }
    plain: dict[str, Any] = json.loads(json.dumps(found))
    return plain


def samples_file(cache: Path, key: Mapping[str, Any]) -> Path:
    """The file of the samples under these conditions, in a stage cache."""
    return keyed_file(cache / FOLDER, FILE, key)


def read_samples(path: Path, key: Mapping[str, Any]) -> Samples | None:
    """The samples in a file; None if it does not exist.

    Raises:
        UserError: it is damaged.
    """
    if not path.is_file():
        return None
    try:
        samples = TypeAdapter(Samples).validate_json(path.read_bytes())
    except ValidationError as error:
        raise _damaged(path, first_line(error)) from error
    if samples.conditions != dict(key):
        raise UserError(f"{path} has other conditions than its name; delete it to measure again")
    if why := _damage(samples):
        raise _damaged(path, why)
    return samples


def _damaged(path: Path, why: str) -> UserError:
    return UserError(f"{path} is damaged ({why}); delete it to measure again")


def _damage(samples: Samples) -> str:
    """What no measurement can have found; "" if nothing."""
    shapes = len(samples.conditions["benchmark_shapes"])
    for each in samples.found:
        if len(each.speedup) != shapes or len(each.baseline_ms) != shapes:
            return f"times of {len(each.speedup)} shapes, expected {shapes}"
        figures = (*each.speedup, *each.baseline_ms, each.size_bytes, samples.baseline_bytes)
        if not all(0 < figure < math.inf for figure in figures):
            return "a time or size is not above zero"
        if "tokens" not in each.facts:
            return "the counts of a shape are missing"
    return ""


def write_samples(samples: Samples, cache: Path, path: Path) -> None:
    """Writes the file, whole or not at all."""
    open_root(cache)
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, json.dumps(asdict(samples), indent=1) + "\n")
