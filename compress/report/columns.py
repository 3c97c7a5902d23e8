"""The columns of results.csv: what each means, its unit, and where it comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from compress.records.metrics import METRICS
from compress.records.schema import FinishedRun, Latency, RunRecord, Speedup
from compress.records.words import target_sparsity
from compress.report.points import latency_at, speedup_at

Kind = Literal["text", "number", "integer", "boolean"]
FRACTION, RATIO, BYTES, MS, COUNT, SECONDS = "fraction", "ratio", "bytes", "ms", "count", "s"
NO_UNIT, DEPENDS = "–", "depends"


@dataclass(frozen=True)
class Column:
    """One column of the table.

    Attributes:
        kind: how it is stored where columns have types.
        meaning: a sentence without its end.
        read: takes the value out of a record; None or NaN where it is unknown.
    """

    name: str
    kind: Kind
    unit: str
    meaning: str
    read: Callable[[FinishedRun], object]

    def value(self, record: RunRecord) -> object:
        """The value of a run; None for failed runs."""
        return self.read(record) if isinstance(record, FinishedRun) else None


@dataclass(frozen=True)
class RunColumn(Column):
    """A column that failed runs have a value in, too."""

    read: Callable[[RunRecord], object]

    def value(self, record: RunRecord) -> object:
        """The value of a run."""
        return self.read(record)


@dataclass(frozen=True)
class ShapeColumn:
    """A column that there is for each timed shape.

    Attributes:
        name: what stands before the shape: `latency_ms` of `latency_ms_1x32`.
        read: takes the value out of what was measured at the shape.
    """

    name: str
    kind: Kind
    unit: str
    meaning: str
    read: Callable[[Latency, Speedup], object]

    def at(self, batch: int, length: int) -> Column:
        """The column of one shape, empty for runs that were not timed at it."""

        def read(record: FinishedRun) -> object:
            latency = latency_at(record.metrics, (batch, length))
            speedup = speedup_at(record, (batch, length))
            return self.read(latency, speedup) if latency and speedup else None

        return Column(f"{self.name}_{batch}x{length}", self.kind, self.unit, self.meaning, read)


# Whose standard deviation over the folds is a column; each run's record has that of all.
SPREAD = ("accuracy", "f1_macro", "size_bytes", "speedup")


def _spread_column(name: str) -> Column:
    def read(record: FinishedRun) -> object:
        found = record.folds and record.folds.figures.get(name)
        return found and found.sd

    meaning = f"standard deviation of {name} over the folds; empty without folds"
    return Column(f"{name}_sd", "number", METRICS[name].unit, meaning, read)


# Columns of finished runs. A lambda's `r` is the record.
MEASURED = (
    *(
        Column(name, "integer" if metric.unit in (BYTES, COUNT) else "number", metric.unit,
               metric.meaning, metric.read)
        for name, metric in METRICS.items()
    ),
    Column("runtime", "text", NO_UNIT, "what executed the model", lambda r: r.metrics.runtime),
    Column("precision", "text", NO_UNIT, "type of its arithmetic", lambda r: r.metrics.precision),
    Column(
        "tokenizer", "text", NO_UNIT,
        "what tokenized the texts; empty for images and language models",
        lambda r: r.metrics.tokenizer,
    ),
    Column(
        "metric", "text", NO_UNIT, "primary metric of the task: the name of that column",
        lambda r: r.metrics.score.metric,
    ),
    Column(
        "score_low", "number", DEPENDS, "lower end of its 95 % interval",
        lambda r: r.metrics.score.low,
    ),
    Column(
        "score_high", "number", DEPENDS, "upper end of the interval",
        lambda r: r.metrics.score.high,
    ),
    Column(
        "baseline_score", "number", DEPENDS, "score of the baseline",
        lambda r: r.baseline.score.value,
    ),
    Column(
        "validation_score", "number", DEPENDS,
        "score on the validation rows, by which searches and the recommendation choose",
        lambda r: r.metrics.validation and r.metrics.validation.value,
    ),
    Column(
        "baseline_validation_score", "number", DEPENDS, "that of the baseline",
        lambda r: r.baseline.validation and r.baseline.validation.value,
    ),
    Column(
        "n_regressed", "integer", COUNT,
        "rows that only the baseline predicts correctly; empty where predictions are neither "
        "right nor wrong",
        lambda r: r.comparison.n_regressed,
    ),
    Column(
        "n_improved", "integer", COUNT, "rows that only the model predicts correctly",
        lambda r: r.comparison.n_improved,
    ),
    Column(
        "p_value", "number", "probability",
        "probability of a difference at least as large if neither model is better: below 0.05 "
        "the difference in score is statistically significant",
        lambda r: r.comparison.p_value,
    ),
    Column(
        "test", "text", NO_UNIT, "statistical test of the p-value", lambda r: r.comparison.test
    ),
    Column(
        "samples", "integer", COUNT, "evaluation rows", lambda r: r.metrics.score.samples
    ),
    Column(
        "target_sparsity", "number", FRACTION,
        "the pruner's `sparsity` setting, a fraction of what the pruner removes",
        target_sparsity,
    ),
    Column(
        "baseline_size_bytes", "integer", BYTES, "the baseline's files",
        lambda r: r.baseline.size_bytes,
    ),
    Column(
        "saved_bytes", "integer", BYTES, "size of the baseline's files minus that of the model's",
        lambda r: r.baseline.size_bytes - r.metrics.size_bytes,
    ),
    Column(
        "folds", "integer", COUNT,
        "number of models over which figures are averaged; empty without folds",
        lambda r: r.folds and len(r.folds.folders),
    ),
    *map(_spread_column, SPREAD),
)  # fmt: skip

SHAPED = (
    ShapeColumn(
        "latency_ms", "number", MS, "median time of a forward pass, tokenization not included",
        lambda latency, _: latency.median_ms,
    ),
    ShapeColumn(
        "tokenize_ms", "number", MS,
        "median time to tokenize texts of so many tokens; empty for images and language models",
        lambda latency, _: latency.tokenize_ms,
    ),
    ShapeColumn(
        "text_to_label_ms", "number", MS, "the sum of the two",
        lambda latency, _: latency.text_to_label_ms,
    ),
    ShapeColumn(
        "p95_ms", "number", MS, "95th percentile of a forward pass; empty below 200 passes",
        lambda latency, _: latency.p95_ms,
    ),
    ShapeColumn(
        "p99_ms", "number", MS, "99th percentile; empty below 1,000 passes",
        lambda latency, _: latency.p99_ms,
    ),
    ShapeColumn(
        "samples_per_second", "number", "per second", "batch divided by the median",
        lambda latency, _: latency.samples_per_second,
    ),
    ShapeColumn(
        "tokens_per_second", "number", "per second",
        "samples per second times the length; empty for images",
        lambda latency, _: latency.tokens_per_second,
    ),
    ShapeColumn(
        "speedup", "number", RATIO, "the baseline's time over the model's, timed in turns",
        lambda _, speedup: speedup.ratio,
    ),
    ShapeColumn(
        "speedup_low", "number", RATIO, "lower end of its 95 % bootstrap interval",
        lambda _, speedup: speedup.low,
    ),
    ShapeColumn(
        "speedup_high", "number", RATIO, "upper end of the interval",
        lambda _, speedup: speedup.high,
    ),
    ShapeColumn(
        "speedup_floor", "number", RATIO,
        "speed-up of the baseline over itself in this sweep; empty if not measured",
        lambda _, speedup: speedup.floor,
    ),
    ShapeColumn(
        "difference", "boolean", NO_UNIT,
        "whether the speed-up is significant: its interval lies outside [1/floor, floor], or "
        "excludes 1 where there is no floor",
        lambda _, speedup: speedup.counts,
    ),
)  # fmt: skip

# Further columns of finished runs.
SURROUNDINGS = (
    Column("machine", "text", NO_UNIT, "processor, instruction sets, cores",
           lambda r: r.environment.machine),
    Column("device", "text", NO_UNIT, "device, with its threads", lambda r: r.environment.device),
    Column("governor", "text", NO_UNIT,
           "CPU frequency governor; empty if unknown",
           lambda r: r.environment.governor),
    Column("load_average", "number", "processes",
           "load average of the minute before the run; above the core count means busy",
           lambda r: r.environment.load_average),
    Column("busy", "text", NO_UNIT,
           "use of the processors by other processes at the start of the run; empty if none",
           lambda r: r.environment.busy),
    Column("shared_with", "text", NO_UNIT,
           "run whose models were timed; empty if this one's: equal graphs share a timing",
           lambda r: r.metrics.latency[0].shared_with),
    Column("data_digest", "text", NO_UNIT,
           "identifies the rows: figures are comparable between runs with equal digests",
           lambda r: r.data.digest),
)  # fmt: skip
