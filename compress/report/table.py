"""Records as a table: one row a run."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from compress.records import METRICS, RunRecord

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
    """What was done to the teacher, in a few words: "wanda sparsity=0.5 + int8_dynamic"."""
    steps = []
    for group in STAGES:
        choice = record.choices.get(group, "none")
        if choice != "none":
            steps.append(" ".join([choice, *_knobs(record, group)]))
    return " + ".join(steps) or NOTHING


def _knobs(record: RunRecord, group: str) -> list[str]:
    settings = record.config.get(group, {})
    knobs = {
        name: _short(settings[name])
        for name in MAIN_KNOBS.get(group, ())
        if settings.get(name) is not None
    }
    for override in record.overrides:
        key = override.lstrip("+").partition("=")[0]
        if key.startswith(f"{group}."):
            # From the config: the override has the command line's quotes and escapes.
            path = key.removeprefix(f"{group}.").split(".")
            knobs[path[-1]] = _short(functools.reduce(dict.__getitem__, path, settings))
    return [f"{name}={value}" for name, value in knobs.items()]


def _short(value: object) -> str:
    """A search draws numbers with 16 digits; 4 tell its trials apart."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _row(folder: Path, record: RunRecord, root: Path) -> dict[str, Any]:
    row: dict[str, Any] = {
        "run": str(folder.relative_to(root)) if folder.is_relative_to(root) else str(folder),
        "status": record.status,
        "recipe": recipe(record),
        **{group: record.choices.get(group) for group in ("teacher", *STAGES, "task")},
        "seed": record.seed,
    }
    if record.metrics and record.baseline and record.environment:
        row |= {name: metric.read(record) for name, metric in METRICS.items()}
        row["accuracy_low"] = record.metrics.score.accuracy_low
        row["accuracy_high"] = record.metrics.score.accuracy_high
        row["baseline_accuracy"] = record.baseline.score.accuracy
        row["baseline_size_bytes"] = record.baseline.size_bytes
        row["samples"] = record.metrics.score.samples
        for latency, speedup in zip(record.metrics.latency, record.speedup, strict=True):
            shape = f"{latency.batch}x{latency.length}"
            row[f"latency_ms_{shape}"] = latency.median_ms
            row[f"p95_ms_{shape}"] = latency.p95_ms
            row[f"p99_ms_{shape}"] = latency.p99_ms
            row[f"samples_per_second_{shape}"] = latency.samples_per_second
            row[f"speedup_{shape}"] = speedup.ratio
            row[f"speedup_low_{shape}"] = speedup.low
            row[f"speedup_high_{shape}"] = speedup.high
        row["machine"] = record.environment.machine
        row["device"] = record.environment.device
    row["seconds"] = record.seconds
    row["error"] = record.error
    return row
