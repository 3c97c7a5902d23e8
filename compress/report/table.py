"""Records as a table: one row a run."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from compress.metrics import METRICS
from compress.records import RunRecord
from compress.report.words import asked_sparsity, measured

STAGES = ("student", "pruner", "quantizer")
# The knobs that a recipe always shows, whether or not they were set on the command line.
MAIN_KNOBS = {"pruner": ("sparsity", "pattern"), "student": ("keep",)}
NOTHING = "teacher as it is"


def results_table(runs: Sequence[tuple[Path, RunRecord]], root: Path) -> pd.DataFrame:
    """One row a run; figures of failed runs are missing. Units are in the column names.

    Args:
        runs: folder and record of each.
        root: folders are given relative to it.
    """
    return pd.DataFrame([_row(folder, record, root) for folder, record in runs])


def recipe(record: RunRecord) -> str:
    """What was done to the teacher, in a few words: "wanda sparsity=0.5 + int8_dynamic".

    The runtime is named after it unless it is torch: "… on openvino".
    """
    steps = []
    for group in STAGES:
        choice = record.choices.get(group, "none")
        if choice != "none":
            steps.append(" ".join([choice, *_knobs(record, group)]))
    words, runtime = " + ".join(steps) or NOTHING, _runtime(record)
    return words if runtime == "torch" else f"{words} on {runtime}"


def _runtime(record: RunRecord) -> str:
    """What ran the model; of a run that failed, what its device asked for: cpu_openvino."""
    if record.metrics is not None:
        return record.metrics.runtime
    return record.choices.get("device", "").partition("_")[2] or "torch"


def _knobs(record: RunRecord, group: str) -> list[str]:
    """The settings that tell the group's choice from others, by the shortest names that do."""
    settings = record.config.get(group, {})
    knobs: dict[tuple[str, ...], Any] = {
        (name,): settings[name]
        for name in MAIN_KNOBS.get(group, ())
        if settings.get(name) is not None
    }
    for override in record.overrides:
        key = override.lstrip("+").partition("=")[0]
        if key.startswith(f"{group}."):
            # From the config: the override has the command line's quotes and escapes.
            path = tuple(key.removeprefix(f"{group}.").split("."))
            knobs[path] = functools.reduce(dict.__getitem__, path, settings)
    return [f"{_name(path, knobs)}={_short(value)}" for path, value in knobs.items()]


def _name(path: tuple[str, ...], paths: Iterable[tuple[str, ...]]) -> str:
    """The end of a path that is no other one's: "sparsity", or "heads.sparsity"."""
    others = [other for other in paths if other != path]
    lengths = range(1, len(path))
    unique = (n for n in lengths if all(other[-n:] != path[-n:] for other in others))
    return ".".join(path[-next(unique, len(path)) :])


def _short(value: object) -> str:
    """A search draws numbers with 16 digits; 4 tell its trials apart."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _row(folder: Path, record: RunRecord, root: Path) -> dict[str, Any]:
    figures = record.metrics and record.baseline and record.environment
    return {
        "run": str(folder.relative_to(root)) if folder.is_relative_to(root) else str(folder),
        "status": record.status,
        "recipe": recipe(record),
        **{group: record.choices.get(group) for group in ("teacher", *STAGES, "task")},
        "seed": record.seed,
        **({**_model_columns(record), **_shape_columns(record)} if figures else {}),
        **(_machine_columns(record) if figures else {}),
        "seconds": record.seconds,
        "error": record.error,
    }


def _model_columns(record: RunRecord) -> dict[str, Any]:
    ours, theirs = measured(record)
    found = record.comparison
    return {
        **{name: metric.read(record) for name, metric in METRICS.items()},
        "runtime": ours.runtime,
        "precision": ours.precision,
        "accuracy_low": ours.score.accuracy_low,
        "accuracy_high": ours.score.accuracy_high,
        "baseline_accuracy": theirs.score.accuracy,
        "lost": found and found.lost,
        "won": found and found.won,
        "p_value": found and found.p_value,
        "samples": ours.score.samples,
        "asked_sparsity": asked_sparsity(record),
        "baseline_size_bytes": theirs.size_bytes,
        "saved_bytes": theirs.size_bytes - ours.size_bytes,
    }


def _shape_columns(record: RunRecord) -> dict[str, Any]:
    """Times and ratios, a set of columns for each shape."""
    columns: dict[str, Any] = {}
    ours, _ = measured(record)
    for latency, speedup in zip(ours.latency, record.speedup, strict=True):
        figures = {
            "latency_ms": latency.median_ms,
            "p95_ms": latency.p95_ms,
            "p99_ms": latency.p99_ms,
            "samples_per_second": latency.samples_per_second,
            "tokens_per_second": latency.tokens_per_second,
            "speedup": speedup.ratio,
            "speedup_low": speedup.low,
            "speedup_high": speedup.high,
            "speedup_floor": speedup.floor,
            "difference": speedup.difference,
        }
        shape = f"{latency.batch}x{latency.length}"
        columns |= {f"{name}_{shape}": value for name, value in figures.items()}
    return columns


def _machine_columns(record: RunRecord) -> dict[str, Any]:
    found = record.environment
    assert found is not None
    return {
        "machine": found.machine,
        "device": found.device,
        "governor": found.governor,
        "load_average": found.load_average,
        "busy": found.busy,
    }
