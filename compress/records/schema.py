"""Record of a run ⇄ metrics.json: one schema for the writer and every reader.

Units are in the names; fractions lie in [0, 1]; what could not be measured is null, never guessed.
"""

from __future__ import annotations

import functools
import json
import math
import re
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, TypeAdapter, ValidationError

from compress.config.errors import UserError
from compress.config.legible import LONGEST_ERROR, shortened
from compress.records.consistency import faults
from compress.records.folds import Folds
from compress.records.measurements import Comparison as Comparison
from compress.records.measurements import Control as Control
from compress.records.measurements import Generation as Generation
from compress.records.measurements import Latency as Latency
from compress.records.measurements import LayerWeights as LayerWeights
from compress.records.measurements import ModelMetrics as ModelMetrics
from compress.records.measurements import Score as Score
from compress.records.measurements import Speedup as Speedup
from compress.records.measurements import Split as Split
from compress.records.ranges import Count, ErrorText, Name, Seconds, Text
from compress.records.rows import Data as Data
from compress.records.rows import TransferText as TransferText
from compress.system.files import write_atomically

SCHEMA = 9
FILE = "metrics.json"
LARGEST = 2**28  # bytes of a record that is read; one with long curves has some hundred thousand
FIGURES = ("metrics", "baseline", "speedup")  # which only runs that succeeded have
LONGEST_VALUE = 80  # characters of what does not fit, in an error message
HALVES = re.compile("[\ud800-\udfff]")

Outcome = Literal["computed", "cached", "skipped"]


@dataclass(frozen=True)
class StageRecord:
    """One stage of a run: `computed`, `cached`, or `skipped` where the choice is none."""

    name: Name
    seconds: Seconds
    outcome: Outcome


@dataclass(frozen=True)
class StageMetrics:
    """The model after a stage ("student", "pruner 2: heads", …), in no numeric format, measured."""

    stage: Name
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

    machine: Text
    device: Text
    load_average: Seconds | None
    versions: dict[Name, Name]
    busy: Text | None = None
    governor: Text | None = None


@dataclass(frozen=True, kw_only=True)
class RunStart:
    """What is known of a run before it starts.

    Attributes:
        started: time stamp in ISO 8601, with time zone.
        seconds: duration of the run; 0 before it ends.
        choices: the option of each config group, such as {"pruner": "wanda"}, those inside others
            too: {"task/transfer": "reviews"}.
        overrides: what the command line or the sweeper set.
        config: the whole composed config without the class paths, for which `choices` stand.
        knobs: by group, the settings of its choice that a recipe always names.
    """

    schema: int = SCHEMA
    started: Name
    seconds: Seconds = 0.0
    seed: Count | None
    choices: dict[Name, Name]
    overrides: tuple[Text, ...]
    config: dict[str, Any]
    knobs: dict[Name, tuple[Name, ...]] = field(default_factory=dict)

    def settings(self, group: str) -> Mapping[str, Any]:
        """The config of a group; empty if the group is absent or is not a mapping."""
        found = self.config.get(group)
        return found if isinstance(found, Mapping) else {}


@dataclass(frozen=True, kw_only=True)
class FailedRun(RunStart):
    """A run without figures.

    Attributes:
        status: "infeasible" where a search predicted that the run would break a constraint.
        error: the reason.
        blame: why the run failed, as far as it is known: each entry names config groups whose
            settings, or the files that they name, were together sufficient to cause the error.
    """

    status: Literal["failed", "infeasible"]
    error: ErrorText
    blame: tuple[tuple[Name, ...], ...] = ()


@dataclass(frozen=True, kw_only=True)
class FinishedRun(RunStart):
    """A run with figures.

    Attributes:
        error: always null.
        model: folder of the compressed model, relative to this file; null for cross-validations,
            and for models that were deleted.
        baseline_model: folder of the baseline, relative to this file; runs of a sweep share one.
        history: what each stage did to the model, see `interfaces.Step`.
        stage_metrics: the model after each stage, where `measure_stages=true` asked for it.
        measuring_seconds: the part of `seconds` that measuring took.
        comparison: of predictions on the evaluation split.
        validation_comparison: of predictions on the validation split.
        folds: of a cross-validation, whose figures are means over models; else null.
        controls: what the compressed model must beat; empty where none were asked for.
    """

    status: Literal["ok"] = "ok"
    error: None = None
    environment: Environment
    data: Data
    metrics: ModelMetrics
    baseline: ModelMetrics
    speedup: tuple[Speedup, ...]
    comparison: Comparison
    validation_comparison: Comparison | None = None
    model: Text | None = None
    baseline_model: Text | None = None
    stages: tuple[StageRecord, ...] = ()
    history: tuple[dict[str, Any], ...] = ()
    stage_metrics: tuple[StageMetrics, ...] = ()
    measuring_seconds: Seconds | None = None
    folds: Folds | None = None
    controls: tuple[Control, ...] = ()


RunRecord: TypeAlias = Annotated[FinishedRun | FailedRun, Field(discriminator="status")]


def write_record(record: RunRecord, folder: Path) -> Path:
    """Writes metrics.json into the run's folder, whole or not at all.

    JSON has no infinity and no NaN. A figure that is one is a bug, but a config may hold them,
    where they are no setting's: they are written as text.

    Raises:
        ValueError: a figure is not finite.
    """
    path = folder / FILE
    if isinstance(record, FailedRun):
        record = replace(record, error=shortened(record.error, LONGEST_ERROR))
    raw = {**asdict(record), "config": _json_value(record.config)}
    text = json.dumps(raw, indent=1, allow_nan=False, ensure_ascii=False)
    # Half a surrogate pair, as in a file name that is not UTF-8, would make the record unreadable.
    write_atomically(path, HALVES.sub(lambda half: f"\\\\u{ord(half[0]):04x}", text) + "\n")
    return path


def _json_value(value: Any) -> Any:
    """A value of a config as JSON has it: what JSON has no kind for in words."""
    if isinstance(value, dict):
        return {str(key): _json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    plain = value is None or isinstance(value, str | int)
    return value if plain or (isinstance(value, float) and math.isfinite(value)) else str(value)


@functools.cache
def record_schema() -> TypeAdapter[RunRecord]:
    """Validator of records; cached, as building it takes far longer than using it."""
    return TypeAdapter(RunRecord)


def parse_record(raw: Mapping[str, Any], where: str) -> RunRecord:
    """A record from the values of its JSON, found at `where`.

    Raises:
        UserError: it does not fit the schema, or contradicts itself; says where.
    """
    return _parsed(json.dumps(raw), raw, where)


def read_record(path: Path) -> RunRecord:
    """Reads a metrics.json.

    Raises:
        UserError: it cannot be read, is not valid JSON, is of another schema, does not fit the
            schema, or contradicts itself; says where.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise UserError(f"{path} is not a file")
        if found.st_size > LARGEST:
            raise UserError(f"{path} has {found.st_size:,} bytes, a record has at most {LARGEST:,}")
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return _parsed(content, json.loads(content), str(path))
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path} is not valid JSON: {shortened(str(error), LONGEST_VALUE)}"
        ) from error


def _parsed(content: str | bytes, raw: Any, where: str) -> RunRecord:
    """A record from its JSON, which `raw` has as values."""
    schema = raw.get("schema") if isinstance(raw, dict) else None
    if schema != SCHEMA or isinstance(schema, bool | float):
        got = shortened(json.dumps(schema), LONGEST_VALUE)
        raise UserError(f"{where} has schema {got}, this version reads {SCHEMA}")
    try:
        record = record_schema().validate_json(content, strict=True)
    except ValidationError as error:
        raise UserError(f"{where} does not fit the schema {_first(error)}") from error
    fault = next(faults(record), None)
    if fault is not None:
        raise UserError(f"{where} contradicts itself: {fault}")
    if isinstance(record, FailedRun) and (figures := [n for n in FIGURES if raw.get(n)]):
        raise UserError(
            f"{where} contradicts itself: status is {record.status}, but there are "
            f"{', '.join(figures)}"
        )
    return record


def _first(error: ValidationError) -> str:
    """The first error: where it is, what is wrong, and the invalid value."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return first["msg"]
    # The status selects the type of record, and leads the place of every other error.
    place, value, message = ".".join(map(str, first["loc"][1:])), first["input"], first["msg"]
    if first["type"] == "union_tag_invalid":
        place, value = "status", first["ctx"]["tag"]
        message = f"Input should be {first['ctx']['expected_tags']}"
    elif first["type"] == "union_tag_not_found":
        place, message = "status", "Field required"
    text = f"at {shortened(place, LONGEST_VALUE)}: {message}"
    if isinstance(value, str | int | float | None):
        text += f", got {shortened(json.dumps(value), LONGEST_VALUE)}"
    return text
