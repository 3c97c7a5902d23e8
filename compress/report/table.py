"""Records as a table: one row a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd

from compress.config.legible import visible
from compress.records.recipe import STAGES, recipe
from compress.records.schema import FinishedRun, RunRecord
from compress.report.columns import (
    MEASURED,
    NO_UNIT,
    SECONDS,
    SHAPED,
    SURROUNDINGS,
    Column,
    Kind,
    RunColumn,
    ShapeColumn,
)

# Types that have a place for what is missing.
DTYPES: dict[Kind, str] = {
    "text": "string",
    "number": "Float64",
    "integer": "Int64",
    "boolean": "boolean",
}


def results_table(runs: Sequence[tuple[Path, RunRecord]], root: Path) -> pd.DataFrame:
    """One row a run; figures of failed runs are missing. docs/columns.md says what each column is.

    Columns have the types of their kinds whatever is missing, so that tables of different sweeps
    can be put together; only those of the timed shapes differ between sweeps. Folders are given
    relative to the root.
    """
    places = [
        visible(str(folder.relative_to(root) if folder.is_relative_to(root) else folder))
        for folder, _ in runs
    ]
    columns = list(_columns(runs))
    values = {each.name: [each.value(record) for _, record in runs] for each in columns}
    types = {each.name: DTYPES[each.kind] for each in (RUN, *columns)}
    return pd.DataFrame({RUN.name: places, **values}, dtype=object).astype(types)


def columns_page() -> str:
    """What every column means, as Markdown: docs/columns.md."""
    columns: list[Column | ShapeColumn] = [RUN, *IDENTITY, *MEASURED, *SHAPED]
    columns += [*SURROUNDINGS, *OUTCOME]
    lines = [
        "# The columns of results.csv",
        "",
        "Made by `python scripts/columns.py`. One row a run; results.parquet has the same columns "
        "with their types.",
        "Failed and infeasible runs have no figures. `<batch>x<length>` stands for each timed "
        "shape, such as 1x32. The baseline is the",
        "teacher that the model was made from, measured beside it; the evaluation rows were "
        "not used for selection. Text that a spreadsheet would take for a formula has an "
        "apostrophe before it in results.csv.",
        "",
        "| column | type | unit | meaning |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| `{_pattern(each)}` | {each.kind} | {each.unit} | {each.meaning} |" for each in columns
    ]
    return "\n".join(lines) + "\n"


def _choice(group: str) -> Callable[[RunRecord], object]:
    return lambda record: record.choices.get(group)


RUN = RunColumn("run", "text", NO_UNIT, "folder, relative to the report's", lambda _: None)
# Of every run, whatever became of it: these stand before the figures,
IDENTITY = (
    RunColumn("status", "text", NO_UNIT, "ok, failed or infeasible", lambda r: r.status),
    RunColumn("recipe", "text", NO_UNIT, "short description of the stages", recipe),
    *(
        RunColumn(group, "text", NO_UNIT, f"the choice of {group}", _choice(group))
        for group in ("teacher", *STAGES, "task")
    ),
    RunColumn("seed", "integer", NO_UNIT, "seed of all random numbers", lambda r: r.seed),
)
# and these after them.
OUTCOME = (
    RunColumn("seconds", "number", SECONDS, "duration of the run", lambda r: r.seconds),
    Column(
        "measuring_seconds", "number", SECONDS, "part of the duration spent measuring",
        lambda r: r.measuring_seconds,
    ),
    RunColumn("error", "text", NO_UNIT, "why there are no figures", lambda r: r.error),
)  # fmt: skip


def _columns(runs: Sequence[tuple[Path, RunRecord]]) -> Iterator[Column]:
    """All columns but the first, in their order."""
    yield from IDENTITY
    yield from MEASURED
    timed = (
        (speed.batch, speed.length)
        for _, record in runs
        if isinstance(record, FinishedRun)
        for speed in record.speedup
    )
    for shape in dict.fromkeys(timed):
        yield from (column.at(*shape) for column in SHAPED)
    yield from SURROUNDINGS
    yield from OUTCOME


def _pattern(column: Column | ShapeColumn) -> str:
    is_shaped = isinstance(column, ShapeColumn)
    return f"{column.name}_<batch>x<length>" if is_shaped else column.name
