"""RunRecord ⇄ metrics.json: one schema for the writer and every reader.

Units are in the names; fractions lie in [0, 1]; what could not be measured is null, never guessed.
"""

from __future__ import annotations

import copy
import functools
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from compress.files import write_atomically
from compress.scores import SCORES
from compress.settings import UserError
from compress.spread import Folds

SCHEMA = 3
READ = (1, 2, 3)  # 2 only adds to 1; 3 names the score that counts, which was always accuracy
FILE = "metrics.json"
SCORES_OF_2 = ("accuracy", "accuracy_low", "accuracy_high", "f1_macro")


@dataclass(frozen=True)
class Score:
    """Quality on one split, of the model reloaded from disk.

    Attributes:
        metric: what the task is judged by first, a name in `compress.scores`.
        value: of that metric.
        low: lower end of its 95 % interval; `compress.problem` says which kind of one.
        high: upper end of it.
        samples: rows that were scored.
        batch_size: rows per batch while scoring, sorted by length and padded to the longest.
        split: which rows these were.
        others: what the task is judged by beside it, such as {"matthews": 0.4}.
    """

    metric: str
    value: float
    low: float
    high: float
    samples: int
    batch_size: int
    split: str
    others: dict[str, float] = field(default_factory=dict)

    @property
    def quality(self) -> float:
        """The value as a figure of which more is better; see `compress.scores.ScoreKind`."""
        return SCORES[self.metric].quality(self.value)

    def by_name(self) -> dict[str, float]:
        """Every score that there is, and the quality."""
        return {"quality": self.quality, self.metric: self.value, **self.others}


@dataclass(frozen=True)
class Latency:
    """Wall-clock time of one forward pass at one shape, tokenization not included.

    Attributes:
        length: tokens in each of the `batch` rows, none of them padding.
        samples: timed forward passes.
        iqr_ms: distance between the quartiles.
        p95_ms: null below 200 samples, to have 10 beyond it; `p99_ms` likewise below 1,000.
        samples_per_second: batch divided by the median.
        tokens_per_second: that times the length; null for images.
        quantiles_ms: from 0 to 100 % of the samples in steps of 5 %.
    """

    batch: int
    length: int
    samples: int
    median_ms: float
    iqr_ms: float
    p95_ms: float | None
    p99_ms: float | None
    samples_per_second: float
    tokens_per_second: float | None = None
    quantiles_ms: tuple[float, ...] = ()


@dataclass(frozen=True)
class Speedup:
    """Baseline's time divided by the candidate's at one shape, both timed in turns in this run.

    Attributes:
        ratio: above 1 when the candidate is faster.
        low: lower end of the 95 % bootstrap interval.
        high: upper end of it.
        floor: what the baseline reaches against itself (A/A) in this sweep, >= 1; null if unknown.
        difference: whether the interval lies outside [1/floor, floor].
    """

    batch: int
    length: int
    ratio: float
    low: float
    high: float
    floor: float | None = None
    difference: bool | None = None


@dataclass(frozen=True)
class Generation:
    """Speed of a language model that writes one text, with keys and values kept.

    Attributes:
        prompt: tokens that it was given.
        new_tokens: tokens that it wrote.
        samples: timed texts.
        time_to_first_token_ms: the median.
        tokens_per_second: behind the first, by the median text.
        speedup: baseline's time for these over the model's, timed in turns; null for the baseline.
        speedup_low: lower end of its 95 % bootstrap interval.
        speedup_high: upper end of it.
    """

    prompt: int
    new_tokens: int
    samples: int
    time_to_first_token_ms: float
    tokens_per_second: float
    speedup: float | None = None
    speedup_low: float | None = None
    speedup_high: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Predictions of the candidate against those of the baseline, row by row.

    Attributes:
        agreement: share of rows, or of tokens, of which both say the same; null of quantities.
        lost: rows that the baseline has right and the candidate wrong; null where rows are not
            simply right or wrong.
        won: the other way round.
        p_value: how likely a difference at least as large is, if neither model is better. Below
            0.05 the difference in score is no chance.
        test: what gives it.
    """

    agreement: float | None
    lost: int | None
    won: int | None
    p_value: float
    test: str = "McNemar's exact test"


@dataclass(frozen=True)
class LayerWeights:
    """One compressible weight, as it was found in the reloaded model.

    Attributes:
        name: the weight's, as torch names it.
        shape: of what is stored: of codes, where numbers share bytes.
        zeros: entries that are zero.
    """

    name: str
    shape: tuple[int, ...]
    zeros: int


@dataclass(frozen=True)
class ModelMetrics:
    """All that was measured on one model folder; null where the operating system does not say.

    Attributes:
        score: on the evaluation split, which chooses nothing.
        validation: on the validation split, which a search may choose by; null in old records.
        parameters: entries of all weights, shared ones counted once.
        nonzero_parameters: those that are not zero.
        sparsity: zeroed fraction of the compressible weights (the Linear layers of the blocks).
        model_sparsity: zeroed fraction of all weights.
        size_bytes: of the files needed to run it: all in its folder but the manifest and the card.
        peak_memory_bytes: the most that a fresh process takes for it, at the largest timed shape.
        runtime: what ran it.
        precision: what it computed in; null in old records.
        zipped_bytes: what a zip file of the same files would take.
        bitmask_bytes: likewise, with a bit per weight and only what is not zero where that is less.
        resident_bytes: as peak_memory_bytes, but once it has run the first timed shape.
        generation: of language models; null where they, or the runtime, write nothing.
    """

    score: Score
    parameters: int
    nonzero_parameters: int
    sparsity: float
    model_sparsity: float
    size_bytes: int
    latency: tuple[Latency, ...]
    peak_memory_bytes: int | None
    runtime: str = "torch"
    precision: str | None = None
    zipped_bytes: int | None = None
    bitmask_bytes: int | None = None
    resident_bytes: int | None = None
    validation: Score | None = None
    layers: tuple[LayerWeights, ...] = ()
    generation: Generation | None = None


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
    """Writes metrics.json into the run's folder, whole or not at all."""
    path = folder / FILE
    write_atomically(path, json.dumps(asdict(record), indent=1, allow_nan=False) + "\n")
    return path


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
