"""One timing for all runs of a sweep that execute the same graphs.

A forward pass takes as long as its operators, types and shapes make it; no kernel in use looks at
the values of weights, so zeros, seeds and epochs change nothing (`benchmarks/equal_graphs.py`). The
exception are subnormal numbers, which processors multiply slowly: models with such weights share
with none.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from compress.interfaces import Device, Runtime
from compress.measure.environment import machine, versions
from compress.measure.generation import Writing
from compress.measure.latency import Timings
from compress.measure.tokenization import Medians
from compress.serve.folder import MANIFEST, RUNTIME, WEIGHTS, model_files, read_spec
from compress.store.kinds import runtime_class
from compress.system.digests import file_digest
from compress.system.files import write_atomically
from compress.transformer.checkpoint_files import CONFIG

FILE = "timings-{}.json"
NAME = re.compile(FILE.format("[0-9a-f]{12}"))
NOT_TOKENIZERS = (*WEIGHTS, ".bin")


@dataclass(frozen=True)
class Timed:
    """The timing of a candidate and a baseline.

    Attributes:
        run: the run whose models were timed.
        writing: None if a model does not generate.
        tokenized: of each model, the median time to tokenize a batch of each shape.
    """

    run: str
    timings: Timings
    writing: Writing | None
    tokenized: tuple[Medians, Medians]


def shared_timing(
    graphs: tuple[str, str],
    texts: str,
    device: Device,
    shared: Path,
    part: str,
    make: Callable[[], Timed],
) -> Timed:
    """The timing of two graphs, made once per sweep: two runs that begin together both make it.

    Args:
        graphs: from `model_graph`, the candidate's and the baseline's.
        texts: digest of the rows whose texts are tokenized; "" if they are none.
        device: its benchmark says whether timings are shared.
        shared: the sweep's folder.
        part: the fold of a cross-validation, whose figures must be independent, or "".
        make: times the models.
    """
    if not device.benchmark.share:
        return make()
    key = {**conditions(device), "graphs": graphs, "texts": texts, "part": part}
    path = keyed_file(shared, FILE, key)
    timed = TypeAdapter(Timed)
    if path.is_file():
        return timed.validate_json(path.read_bytes())
    made = make()
    write_atomically(path, json.dumps(asdict(made)) + "\n")
    return made


def model_graph(folder: Path, *, subnormal: bool) -> str:
    """Digest of all that a model's speed depends on, but for the device: graph and tokenizer.

    Args:
        folder: of the model.
        subnormal: whether it has subnormal weights.
    """
    spec = read_spec(folder)
    runtime: type[Runtime] = runtime_class(spec.runtime)
    files = {path.name: file_digest(path) for path in model_files(folder) if is_tokenizer(path)}
    facts = [runtime.graph(folder), files, spec.texts and asdict(spec.texts)]
    if subnormal:
        facts.append(file_digest(folder / MANIFEST))
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def is_tokenizer(path: Path) -> bool:
    """Whether a file of a model folder belongs to its tokenizer: neither graph nor config."""
    return path.suffix not in NOT_TOKENIZERS and path.name not in (CONFIG, RUNTIME)


def conditions(device: Device) -> Mapping[str, Any]:
    """What a timing depends on beside the models."""
    return {
        "machine": machine(),
        "device": device.label(),
        "versions": versions(device),
        "benchmark": device.benchmark.describe(),
    }


def forget_timings(folder: Path) -> None:
    """Deletes the timings in the folder of a run by itself, which is to be timed again."""
    for path in folder.glob(FILE.format("*")):
        if NAME.fullmatch(path.name):
            path.unlink()


def keyed_file(folder: Path, name: str, key: Mapping[str, Any]) -> Path:
    """The file that holds what was measured under a key."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return folder / name.format(digest[:12])
