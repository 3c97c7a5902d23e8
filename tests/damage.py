"""Ways to damage a record, each with what must be said of it."""

from __future__ import annotations

import functools
import json
import operator
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from compress.records.schema import FILE, Control, LayerWeights, RunRecord, write_record
from compress.records.schema import SCHEMA as CURRENT
from tests.records.test_schema import make_failed, make_record
from tests.report.records import curve, trained, with_layers, with_quantiles, with_stages

Damage = Callable[[Path], None]
OK = "status is ok, but "
SCHEMA = "does not fit the schema at "
GONE = object()


def whole_record() -> RunRecord:
    """A run that succeeded, with everything that a record can have."""
    record = with_quantiles(with_layers(with_stages(make_record(), "student"), LAYERS), 5.0)
    validation = replace(record.metrics.score, split="validation")
    return replace(
        record,
        metrics=replace(record.metrics, validation=validation),
        baseline=replace(record.baseline, validation=validation),
        stage_metrics=tuple(
            replace(each, metrics=replace(each.metrics, validation=validation))
            for each in record.stage_metrics
        ),
        validation_comparison=record.comparison,
        controls=(
            Control(
                "untimed",
                "words",
                replace(record.metrics, latency=(), validation=validation),
                comparison=record.comparison,
            ),
            Control(
                "timed",
                "numbers",
                replace(record.metrics, validation=validation),
                record.speedup,
                record.comparison,
            ),
            Control("none", absent="it is a test"),
        ),
        history=(trained("student", curve()), *record.history),
    )


LAYERS = (LayerWeights("bert.encoder.layer.0.attention.self.query.weight", (8, 8), 32),)


def put_value(key: str, value: object) -> Damage:
    """Sets a value by its dotted key, or takes it away."""

    def damage(path: Path) -> None:
        raw: dict[str, Any] = json.loads(path.read_text())
        *outer, last = [int(part) if part.isdecimal() else part for part in key.split(".")]
        inner = functools.reduce(operator.getitem, outer, raw)  # type: ignore[arg-type]
        if value is GONE:
            del inner[last]  # type: ignore[attr-defined]
        else:
            inner[last] = value  # type: ignore[index]
        path.write_text(json.dumps(raw))

    return damage


def put_bytes(content: bytes) -> Damage:
    return lambda path: _ignore(path.write_bytes(content))


def edit(change: Callable[[bytes], bytes]) -> Damage:
    return lambda path: _ignore(path.write_bytes(change(path.read_bytes())))


def put_instead(make: Callable[[Path], object]) -> Damage:
    """Something else in the place of the file."""

    def damage(path: Path) -> None:
        path.unlink()
        make(path)

    return damage


def _ignore(_: object) -> None:
    return None


VALUES: list[tuple[str, object, str]] = [
    # Missing, null, of a wrong type.
    ("status", GONE, SCHEMA + "status: Field required"),
    ("status", None, SCHEMA + "status: "),
    ("status", "fine", SCHEMA + "status: Input should be 'ok', 'failed', 'infeasible', got"),
    ("schema", GONE, f"has schema null, this version reads {CURRENT}"),
    ("schema", True, f"has schema true, this version reads {CURRENT}"),
    ("schema", 3.0, f"has schema 3.0, this version reads {CURRENT}"),
    ("schema", "3", f'has schema "3", this version reads {CURRENT}'),
    ("schema", 99, f"has schema 99, this version reads {CURRENT}"),
    ("schema", [3], f"has schema [3], this version reads {CURRENT}"),
    ("seconds", "1.5", SCHEMA + "seconds: Input should be a valid number"),
    ("seconds", True, SCHEMA + "seconds: Input should be a valid number"),
    ("seed", -1, SCHEMA + "seed: Input should be greater than or equal to 0, got -1"),
    ("seed", 1.5, SCHEMA + "seed: "),
    ("config", None, SCHEMA + "config: "),
    ("config", [], SCHEMA + "config: "),
    ("overrides", "pruner=wanda", SCHEMA + "overrides: "),
    ("overrides.0", 3, SCHEMA + "overrides.0: "),
    ("choices.task", None, SCHEMA + "choices.task: "),
    ("metrics.score", 3, SCHEMA + "metrics.score: "),
    ("metrics.latency", {}, SCHEMA + "metrics.latency: "),
    ("metrics.layers.0.shape", "8x8", SCHEMA + "metrics.layers.0.shape: "),
    ("history.0", "student", SCHEMA + "history.0: "),
    ("history.0.stage", GONE, "history.0 has no stage"),
    ("history.0.stage", 3, "history.0 has no stage"),
    ("history.0.notes", "x", "history.0.notes is not a mapping"),
    ("history.1.settings", 7, "history.1.settings is not a mapping"),
    ("stages.0.outcome", "found", SCHEMA + "stages.0.outcome: "),
    ("folds", 5, SCHEMA + "folds: "),
    ("folds", {"folders": [], "figures": {}, "baseline": {}, "kept": True}, "folds.folders is emp"),
    ("folds", {"folders": ["a", "b"], "figures": {"accuracy": {"mean": 1, "sd": 0, "values": [1]}},
               "baseline": {}, "kept": True}, "has 1 values of 2 folds"),
    # Out of range.
    ("started", "yesterday", "started is not a time: 'yesterday'"),
    ("seconds", -1, SCHEMA + "seconds: Input should be greater than or equal to 0, got -1"),
    ("seconds", 1e308, SCHEMA + "seconds: "),
    ("metrics.sparsity", 1.5, SCHEMA + "metrics.sparsity: Input should be less than or equal to 1"),
    ("metrics.model_sparsity", -0.1, SCHEMA + "metrics.model_sparsity: "),
    ("metrics.size_bytes", 0, SCHEMA + "metrics.size_bytes: "),
    ("metrics.size_bytes", 10**30, SCHEMA + "metrics.size_bytes: "),
    ("baseline.size_bytes", -5, SCHEMA + "baseline.size_bytes: "),
    ("metrics.peak_memory_bytes", -1, SCHEMA + "metrics.peak_memory_bytes: "),
    ("metrics.parameters", 0, SCHEMA + "metrics.parameters: "),
    ("metrics.nonzero_parameters", 10**6, "metrics has more nonzero_parameters than parameters"),
    ("metrics.score.samples", 0, SCHEMA + "metrics.score.samples: "),
    ("metrics.score.value", 1.01, "metrics.score.value cannot be 1.01 of accuracy"),
    ("metrics.score.value", -0.2, "metrics.score.value cannot be -0.2 of accuracy"),
    ("metrics.score.low", 0.99, "metrics.score.low is above its high"),
    ("metrics.score.high", 2, "metrics.score.high cannot be 2.0 of accuracy"),
    ("metrics.score.metric", "beauty", "metrics.score.metric is unknown: 'beauty'; known: "),
    ("metrics.score.metric", "f1", "metrics.score is of f1, baseline.score is not"),
    ("metrics.score.others.mcc", 3, "metrics.score.others.mcc cannot be 3.0"),
    ("metrics.validation.metric", "f1", "metrics.validation is of another metric"),
    ("metrics.latency.0.median_ms", 0, SCHEMA + "metrics.latency.0.median_ms: "),
    ("metrics.latency.0.median_ms", -3, SCHEMA + "metrics.latency.0.median_ms: "),
    ("metrics.latency.0.median_ms", 1e308, SCHEMA + "metrics.latency.0.median_ms: "),
    ("baseline.latency.0.samples", 0, SCHEMA + "baseline.latency.0.samples: "),
    ("metrics.latency.0.batch", 0, SCHEMA + "metrics.latency.0.batch: "),
    ("metrics.latency.0.quantiles_ms", [3, 2, 1], "metrics.latency.0.quantiles_ms do not rise"),
    ("metrics.latency.0.tokenize_ms", 0, SCHEMA + "metrics.latency.0.tokenize_ms: "),
    ("metrics.latency.0.tokenize_ms", None, "metrics has only one of tokenizer and latency.0.tok"),
    ("metrics.tokenizer", None, "metrics has only one of tokenizer and latency.0.tokenize_ms"),
    ("baseline.tokenizer", None, "only one of metrics and baseline has a tokenizer"),
    ("metrics.layers.0.zeros", 65, "metrics.layers.0 has more zeros than entries"),
    ("speedup.0.ratio", 0, SCHEMA + "speedup.0.ratio: "),
    ("speedup.0.low", 2.1, "speedup.0 is outside its interval"),
    ("speedup.0.high", 1.9, "speedup.0 is outside its interval"),
    ("speedup.0.floor", 0.5, SCHEMA + "speedup.0.floor: "),
    ("comparison.p_value", 1.5, SCHEMA + "comparison.p_value: "),
    ("comparison.agreement", -0.1, SCHEMA + "comparison.agreement: "),
    ("comparison.n_regressed", -1, SCHEMA + "comparison.n_regressed: "),
    ("data.evaluation", 0, SCHEMA + "data.evaluation: "),
    ("data.truncated", 2, SCHEMA + "data.truncated: "),
    ("environment.load_average", -1, SCHEMA + "environment.load_average: "),
    # Not a number.
    ("metrics.score.value", float("nan"), SCHEMA + "metrics.score.value: "),
    ("speedup.0.high", float("inf"), SCHEMA + "speedup.0.high: "),
    ("seconds", float("-inf"), SCHEMA + "seconds: "),
    # What ok implies, and what it rules out.
    ("metrics", None, SCHEMA + "metrics: "),
    ("baseline", None, SCHEMA + "baseline: "),
    ("speedup", [], OK + "speedup is missing"),
    ("comparison", None, SCHEMA + "comparison: "),
    ("data", None, SCHEMA + "data: "),
    ("environment", GONE, SCHEMA + "environment: Field required"),
    ("baseline_model", None, OK + "baseline_model is missing"),
    ("choices", {}, OK + "choices.teacher, choices.task is missing"),
    ("error", "broken", SCHEMA + "error: Input should be null"),
    ("status", "failed", SCHEMA + "error: "),
    ("metrics.latency", [], "metrics.latency has no shape, or one twice"),
    ("metrics.validation", None, "only one of metrics and baseline has a validation score"),
    ("speedup.0.batch", 7, "metrics.latency, baseline.latency and speedup are of other shapes"),
    ("baseline.latency.0.length", 7, "are of other shapes"),
    ("stage_metrics.0.speedup", [], "are of other shapes"),
    (
        "stage_metrics.0.metrics.score.value",
        7,
        "stage_metrics.0.metrics.score.value cannot be 7.0 of accuracy",
    ),
    # Of the controls.
    ("controls", None, SCHEMA + "controls: "),
    ("controls.0.metrics", None, "controls.0 must have metrics with a comparison, or say why"),
    ("controls.0.comparison", None, "controls.0 must have metrics with a comparison, or say why"),
    ("controls.1.absent", "it is not", "controls.1 must have metrics with a comparison, or say"),
    ("controls.2.absent", None, "controls.2 must have metrics with a comparison, or say why"),
    ("controls.2.absent", "", "controls.2 must have metrics with a comparison, or say why"),
    ("controls.0.metrics.score.value", 7, "controls.0.metrics.score.value cannot be 7.0 of acc"),
    ("controls.0.metrics.score.metric", "f1", "controls.0.metrics.score is of f1, baseline.score"),
    ("controls.0.metrics.validation", None, "only one of controls.0.metrics and baseline has a"),
    ("controls.1.speedup", [], "controls.1.speedup are of other shapes"),
    ("controls.1.metrics.latency", [], "controls.1.metrics.latency has no shape, or one twice"),
    ("controls.1.speedup.0.low", 2.1, "controls.1.speedup.0 is outside its interval"),
    # Too long.
    ("choices.task", "x" * 1001, SCHEMA + "choices.task: String should have at most 1000 char"),
    ("metrics.runtime", "x" * 10**6, SCHEMA + "metrics.runtime: String should have at most 1000"),
    ("data.source", "x" * 10**6, SCHEMA + "data.source: String should have at most 100000"),
]  # fmt: skip

DEEP = b"[" * 100_000
SURROGATE = edit(lambda text: text.replace(b'"cpu X"', b'"cpu \\ud800"'))
FILES: dict[str, tuple[Damage, str]] = {
    "truncated": (edit(lambda text: text[:200]), "is not valid JSON"),
    "empty": (put_bytes(b""), "is not valid JSON"),
    "binary": (put_bytes(b"\xff\xfe\x00\x01" * 50), "is not valid JSON"),
    "another encoding": (edit(lambda text: text.decode().encode("utf-16")), "does not fit the"),
    "a list": (put_bytes(b"[]"), "has schema null"),
    "null": (put_bytes(b"null"), "has schema null"),
    "two records": (edit(lambda text: text + text), "is not valid JSON"),
    "nested too deep": (put_bytes(DEEP), "is not valid JSON"),
    "nested too deep inside": (
        edit(lambda text: text.replace(b'"seed": 0', b'"seed": 0, "x": ' + DEEP)),
        "is not valid JSON",
    ),
    "half a character": (SURROGATE, "does not fit the schema"),
    "a folder": (put_instead(Path.mkdir), "is not a file"),
    "a link to nowhere": (put_instead(lambda path: path.symlink_to("gone")), "cannot be read: No"),
    "a link to itself": (put_instead(lambda path: path.symlink_to(FILE)), "cannot be read: "),
    "a pipe": (put_instead(lambda path: os.mkfifo(path)), "is not a file"),
}


def damages() -> dict[str, tuple[Damage, str]]:
    """All of them by name."""
    found = {
        f"{key} = {'gone' if value is GONE else str(value)[:20]}": (put_value(key, value), said)
        for key, value, said in VALUES
    }
    assert len(found) == len(VALUES)
    return {
        **found,
        **FILES,
        "failed with figures": (failed_with_figures, "but there are metrics, baseline, speedup"),
    }


def failed_with_figures(path: Path) -> None:
    raw = json.loads(path.read_text())
    path.write_text(json.dumps({**raw, "status": "failed", "error": "no"}))


def put_damaged(root: Path, damage: Damage, name: str = "bad") -> Path:
    """A run's folder with a damaged record."""
    folder = root / name
    (folder / ".hydra").mkdir(parents=True)
    path = write_record(whole_record(), folder)
    damage(path)
    return folder


def put_good(root: Path) -> None:
    """Two runs that succeeded and one that failed."""
    for name, record in (("0", whole_record()), ("1", make_record(0.8)), ("2", make_failed())):
        (root / name).mkdir()
        write_record(record, root / name)
