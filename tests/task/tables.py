"""Small files as a CSV task reads them, and what several tests of tasks need."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from compress.config.errors import UserError
from compress.interfaces import Task, TaskData
from compress.task.components.text import TextSplit
from compress.task.csv import Csv
from tests.configs import changed, settings_of

BASE = settings_of("task", "csv", "task.path=x")
TABLE = [(f"text {i}", ("cold", "warm")[i % 2]) for i in range(40)]


class Published(dict[str, pd.DataFrame]):
    """Stands in for a DatasetDict of the hub."""

    def __getitem__(self, name: str) -> object:
        rows = super().__getitem__(name)
        return type("Rows", (), {"to_pandas": lambda _: rows})()


def task(path: Path, **changes: object) -> Csv:
    """The task of a file; settings of its split and format by their own names."""
    made = replace(BASE, path=str(path))
    inside = {name: block for block in ("split", "format") for name in vars(getattr(made, block))}
    for name, value in changes.items():
        if name in inside:
            made = changed(made, **{inside[name]: {name: value}})
        else:
            made = replace(made, **{name: value})
    return made


def checked(made: Task) -> TaskData:
    made.check()
    return made.load()


def load(path: Path, **changes: object) -> TaskData:
    return checked(task(path, **changes))


def refusal(made: Task) -> str:
    """The one line that refuses a task's rows."""
    with pytest.raises(UserError) as caught:
        checked(made)
    said = str(caught.value)
    assert "\n" not in said
    assert len(said) < 400
    return said


def refused(path: Path, **changes: object) -> str:
    told = refusal(task(path, **changes))
    assert told.startswith(str(path)), told
    return told


def parts(data: TaskData) -> dict[str, TextSplit]:
    return {
        "train": data.training.train,
        "validation": data.training.validation,
        "evaluation": data.evaluation,
    }


def rows(data: TaskData) -> list[tuple[str, ...]]:
    """Every row as its texts and the name of its class, sorted."""
    names = data.training.problem.names
    return sorted(
        (*texts, names[label])
        for split in parts(data).values()
        for *texts, label in zip(*split.columns, split.labels.tolist(), strict=True)
    )


def write(path: Path, table: list[tuple[str, ...]] = TABLE) -> Path:
    path.write_text("".join(f"{','.join(row)}\n" for row in [("text", "label"), *table]))
    return path


def json_lines(table: list[dict[str, object]]) -> bytes:
    return "\n".join(json.dumps(row) for row in table).encode()
