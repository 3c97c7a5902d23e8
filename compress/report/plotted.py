"""The runs of a section as columns: what the page's plots draw, its table lists, its hover says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compress.records.recipe import recipe
from compress.records.schema import FinishedRun
from compress.records.score_words import kind_of, score_words, value_words
from compress.records.words import change_words, megabytes, speedup_words
from compress.report.controls import control_rows
from compress.report.points import (
    FRONT,
    Shape,
    latency_at,
    latency_figure,
    places,
    run_name,
    score_figure,
    size_figure,
    speedup_at,
    teacher_ms,
)
from compress.report.recommend import Advice

Columns = Mapping[str, Any]
# What the runs of one section may differ in, and a reader may filter by.
FILTERS = ("student", "pruner", "quantizer", "runtime", "device")
# By plot, the column with each point's place, and the two columns that are drawn.
PLACES = {"place_size": ("mb", "score"), "place_latency": ("latency", "score"),
          "place_cost": ("mb", "latency")}  # fmt: skip
STAIRS = ("place_size", "place_latency")  # that of the two costs has the front of all three figures


def run_columns(advice: Advice, root: Path) -> Columns:
    """What does not depend on the shape: names, choices, scores, bytes."""
    runs = advice.section.runs
    records = [record for _, record in runs]
    score, size = score_figure(records), size_figure(records)
    wins = {pick.name: "; ".join(pick.wins) for pick in advice.picks}
    names = [run_name(folder, root) for folder, _ in runs]
    scores = [record.metrics.score for record in records]
    return {
        "run": names,
        "recipe": [recipe(record) for record in records],
        **{name: [choice_of(record, name) for record in records] for name in FILTERS},
        "score": score.values,
        "score_low": score.low,
        "score_high": score.high,
        "score_words": [f"{score_words(each)}, n = {each.samples}" for each in scores],
        "change": [change_words(record) for record in records],
        "mb": size.values,
        "size_words": [
            f"{megabytes(record.metrics.size_bytes)} MB of {megabytes(record.baseline.size_bytes)}"
            for record in records
        ],
        "computes": [
            f"{record.metrics.precision or 'not noted'} on {record.metrics.runtime}"
            for record in records
        ],
        "wins": [wins.get(name, "") for name in names],
        "place_size": places([score, size]),
    }


def shape_columns(records: Sequence[FinishedRun], shape: Shape) -> Columns:
    """What was timed at a shape; NaN and a dash for the runs that were not."""
    score, size = score_figure(records), size_figure(records)
    latency = latency_figure(records, shape)
    speeds = [speedup_at(record, shape) for record in records]
    return {
        "latency": latency.values,
        "latency_low": latency.low,
        "latency_high": latency.high,
        "speedup": np.array([np.nan if each is None else each.counted for each in speeds]),
        "speedup_words": ["–" if each is None else speedup_words(each) for each in speeds],
        "measured": [_milliseconds(record, shape) for record in records],
        "text_to_label": np.array([_text_to_label(record, shape) for record in records]),
        "place_latency": places([score, latency]),
        "place_cost": places([score, size, latency]),
    }


def stairs_columns(columns: Columns, place: str) -> Columns:
    """The front of one plot as corners from left to right."""
    x, y = PLACES[place]
    points = zip(columns[x], columns[y], columns[place], strict=True)
    corners = sorted((float(x), float(y)) for x, y, where in points if where == FRONT)
    return {"x": [x for x, _ in corners], "y": [y for _, y in corners]}


def teacher_columns(records: Sequence[FinishedRun], shape: Shape) -> Columns:
    """The teachers, each once: those of other seeds have other scores."""
    found = {(each.baseline.score.value, each.baseline.size_bytes): each for each in records}
    scores = [record.baseline.score for record in found.values()]
    return {
        "run": [f"teacher {record.choices['teacher']}" for record in found.values()],
        "score": [score.value for score in scores],
        "score_words": [value_words(kind_of(score), score.value, 4) for score in scores],
        "mb": [size / 1e6 for _, size in found],
        "latency": [teacher_ms(records, shape)] * len(found),
    }


def control_columns(records: Sequence[FinishedRun], shape: Shape) -> Columns:
    """The controls; one that was not timed has no place in the plots of time."""
    rows = control_rows(records)
    scores = [row.record.metrics.score for row in rows]
    return {
        "run": [row.title for row in rows],
        "score": [score.value for score in scores],
        "score_words": [score_words(score) for score in scores],
        "mb": [row.record.metrics.size_bytes / 1e6 for row in rows],
        "latency": np.array([row.latency(records, shape) for row in rows]),
    }


def choice_of(record: FinishedRun, name: str) -> str:
    """What a run took of something that a reader may filter by."""
    if name == "runtime":
        return record.metrics.runtime
    return record.choices.get(name, "–")


def _text_to_label(record: FinishedRun, shape: Shape) -> float:
    """Median time measured in the run itself; NaN for images and language models."""
    found = latency_at(record.metrics, shape)
    whole = None if found is None else found.text_to_label_ms
    return np.nan if whole is None else whole


def _milliseconds(record: FinishedRun, shape: Shape) -> str:
    """Median time measured in the run itself."""
    ours, theirs = latency_at(record.metrics, shape), latency_at(record.baseline, shape)
    if ours is None or theirs is None:
        return "–"
    return f"{ours.median_ms:.2f} ms, its teacher {theirs.median_ms:.2f} ms"
