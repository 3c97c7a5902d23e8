"""Small files as a CSV task reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from compress.interfaces import TaskData
from compress.task.components.text import TextSplit
from compress.task.csv import Csv

FIXED: dict[str, Any] = {
    "text": "text",
    "label": "label",
    "problem": None,
    "class_weights": None,
    "validation_path": None,
    "evaluation_path": None,
    "validation_fraction": 0.1,
    "evaluation_fraction": 0.2,
    "folds": None,
    "fold": None,
    "delimiter": "auto",
    "encoding": "auto",
    "drop": (),
    "max_length": 16,
    "limit": None,
    "seed": 0,
    "calibration_samples": 8,
}


def task(path: Path, **changes: object) -> Csv:
    return Csv(path=str(path), **FIXED | changes)


def load(path: Path, **changes: object) -> TaskData:
    made = task(path, **changes)
    made.check()
    return made.load()


def parts(data: TaskData) -> dict[str, TextSplit]:
    found = {
        "train": data.training.train,
        "validation": data.training.validation,
        "evaluation": data.evaluation,
    }
    assert all(isinstance(split, TextSplit) for split in found.values())
    return found  # type: ignore[return-value]


def rows(data: TaskData) -> list[tuple[str, ...]]:
    """Every row as its texts and the name of its class, sorted."""
    names = data.training.problem.names
    return sorted(
        (*texts, names[label])
        for split in parts(data).values()
        for *texts, label in zip(*split.columns, split.labels.tolist(), strict=True)
    )


TABLE = [(f"text {i}", ("cold", "warm")[i % 2]) for i in range(40)]


def write(path: Path, table: list[tuple[str, ...]] = TABLE) -> Path:
    path.write_text("".join(f"{','.join(row)}\n" for row in [("text", "label"), *table]))
    return path


def json_lines(table: list[dict[str, object]]) -> bytes:
    return "\n".join(json.dumps(row) for row in table).encode()
