"""RunRecord ⇄ metrics.json: one schema for the writer and every reader.

Units are in the names; fractions lie in [0, 1]; what could not be measured is null, never guessed.
"""

from __future__ import annotations

import copy
import functools
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from compress.figures import Comparison as Comparison
from compress.figures import Generation as Generation
from compress.figures import Latency as Latency
from compress.figures import LayerWeights as LayerWeights
from compress.figures import ModelMetrics as ModelMetrics
from compress.figures import Score as Score
from compress.figures import Speedup as Speedup
from compress.files import write_atomically
from compress.settings import UserError
from compress.spread import Folds

SCHEMA = 3
READ = (1, 2, 3)  # 2 only adds to 1; 3 names the score that counts, which was always accuracy
FILE = "metrics.json"
SCORES_OF_2 = ("accuracy", "accuracy_low", "accuracy_high", "f1_macro")


Outcome = Literal["made", "cached", "passed through"]


@dataclass(frozen=True)
class StageRecord:
    """One stage of a run: `made`, found `cached`, or `passed through` by a stage that is none."""

    name: str
    seconds: float
    outcome: Outcome


@dataclass(frozen=True)
class Interim:
    """The model after a stage ("student", "pruner 2: heads", …), in no numeric format, measured."""

    stage: str
    metrics: ModelMetrics
    speedup: tuple[Speedup, ...]
    comparison: Comparison


@dataclass(frozen=True)
class Environment:
    """The machine and the libraries.

    Attributes:
        machine: processor, instruction sets, cores: figures of different machines never mix.
        device: what ran, with its threads.
        load_average: of the last minute when the run began; above the core count means busy.
        busy: what else used the processors when the run began, in words; null if nothing did.
        governor: the kernel's rule for the clock rate; null where it cannot be read.
    """

    machine: str
    device: str
    load_average: float | None
    versions: dict[str, str]
    busy: str | None = None
    governor: str | None = None


@dataclass(frozen=True)
class Data:
    """Where the rows came from, how many there are, and a digest that identifies them.

    `truncated`: share of the evaluation rows over the task's `max_length`; null for images.
    """

    source: str
    train: int
    validation: int
    evaluation: int
    digest: str
    truncated: float | None = None


@dataclass(frozen=True)
class RunRecord:
    """Everything that one run says about itself.

    Attributes:
        status: "ok"; or "failed", or "infeasible" where a search saw beforehand that the run would
            break a constraint: then `error` says why and the figures are null.
        choices: the option taken in each config group, such as {"pruner": "wanda"}.
        overrides: what the command line or the sweeper set.
        config: the whole config as it was composed.
        model: the run's own folder of the compressed model, relative to this file; null of folds.
        baseline_model: the baseline's folder, likewise; runs of a sweep share one.
        history: what each stage did to the model, see `interfaces.Step`.
        interim: the model after each stage, where `interim=true` asked for it.
        measuring_seconds: what of `seconds` went into measuring; null if nothing was measured.
        comparison: on the evaluation split; the other on validation rows, null in old records.
        folds: of a cross-validation, of which the figures are means, each with a model; else null.
    """

    schema: int
    status: Literal["ok", "failed", "infeasible"]
    error: str | None
    started: str
    seconds: float
    seed: int | None
    choices: dict[str, str]
    overrides: tuple[str, ...]
    config: dict[str, Any]
    model: str | None = None
    environment: Environment | None = None
    data: Data | None = None
    metrics: ModelMetrics | None = None
    baseline: ModelMetrics | None = None
    speedup: tuple[Speedup, ...] = ()
    comparison: Comparison | None = None
    baseline_model: str | None = None
    stages: tuple[StageRecord, ...] = ()
    history: tuple[dict[str, Any], ...] = ()
    interim: tuple[Interim, ...] = ()
    measuring_seconds: float | None = None
    validation_comparison: Comparison | None = None
    folds: Folds | None = None


def write_record(record: RunRecord, folder: Path) -> Path:
    """Writes metrics.json into the run's folder, whole or not at all.

    JSON has no infinity and no NaN. A figure that is one is a bug, but a config may hold them,
    where they are no setting's: they are written as text.

    Raises:
        ValueError: a figure is not finite.
    """
    path = folder / FILE
    raw = {**asdict(record), "config": _json_value(record.config)}
    write_atomically(path, json.dumps(raw, indent=1, allow_nan=False) + "\n")
    return path


def _json_value(value: Any) -> Any:
    """A value of a config as JSON has it: what JSON has no kind for in words."""
    if isinstance(value, dict):
        return {str(key): _json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    plain = value is None or isinstance(value, str | int)
    return value if plain or (isinstance(value, float) and math.isfinite(value)) else str(value)


def _migrate_(raw: dict[str, Any]) -> None:
    """Writes an older record as this schema has it; leaves what does not fit to be found."""
    if raw["schema"] < 3:
        models = [raw.get("metrics"), raw.get("baseline")]
        models += [each.get("metrics") for each in raw.get("interim") or ()]
        for model in filter(None, models):
            for split in ("score", "validation"):
                old = model.get(split)
                if old and set(SCORES_OF_2) <= set(old):
                    value, low, high, macro = (old.pop(name) for name in SCORES_OF_2)
                    old |= {"metric": "accuracy", "value": value, "low": low, "high": high}
                    old["others"] = {"f1_macro": macro, **old.get("others", {})}
    raw["schema"] = SCHEMA


@functools.cache
def record_schema() -> TypeAdapter[RunRecord]:
    """Checks and builds records; kept, as making it takes far longer than using it."""
    return TypeAdapter(RunRecord)


def parse_record(raw: dict[str, Any]) -> RunRecord:
    """A record from the values of its JSON, which may be of any schema that is read.

    Raises:
        ValidationError: they do not fit the schema.
    """
    made = copy.deepcopy(raw)
    _migrate_(made)
    return record_schema().validate_python(made)


def read_record(path: Path) -> RunRecord:
    """Reads a metrics.json; what an older schema lacks is null or empty.

    Raises:
        UserError: it is no JSON, of another schema, or does not fit the schema; says where.
    """
    try:
        raw = json.loads(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path} is no JSON: {error}") from error
    schema = raw.get("schema") if isinstance(raw, dict) else None
    if schema not in READ:
        allowed = ", ".join(map(str, READ))
        raise UserError(f"{path} has schema {schema}, this version reads {allowed}")
    try:
        return parse_record(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path} does not fit the schema at {where}: {first['msg']}") from error
