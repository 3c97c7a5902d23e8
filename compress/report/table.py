"""Records as a table: one row a run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from compress.legible import shortened, visible
from compress.records import RunRecord
from compress.report.columns import (
    MEASURED,
    NO_UNIT,
    SECONDS,
    SHAPED,
    SURROUNDINGS,
    Column,
    Kind,
    ShapeColumn,
)

STAGES = ("student", "pruner", "quantizer")
# The knobs that a recipe always shows, whether or not they were set on the command line.
MAIN_KNOBS = {"pruner": ("sparsity", "pattern"), "student": ("keep",)}
NOTHING = "teacher as it is"
MISSING = object()
LONGEST_KNOB = 200  # characters of a setting in a recipe; the command that remakes a run has all
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
    can be put together; only those of the timed shapes differ between sweeps.

    Args:
        runs: folder and record of each.
        root: folders are given relative to it.
    """
    places = [
        visible(str(folder.relative_to(root) if folder.is_relative_to(root) else folder))
        for folder, _ in runs
    ]
    columns = list(_columns(runs))
    values = {each.name: [each.read(record) for _, record in runs] for each in columns}
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
        "teacher that the model was made from, measured beside it; the evaluation rows chose "
        "nothing. Text that a spreadsheet would take for a formula has an apostrophe before it in "
        "results.csv.",
        "",
        "| column | type | unit | meaning |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| `{_pattern(each)}` | {each.kind} | {each.unit} | {each.meaning} |" for each in columns
    ]
    return "\n".join(lines) + "\n"


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
    return visible(words if runtime == "torch" else f"{words} on {runtime}")


def _runtime(record: RunRecord) -> str:
    """What ran the model; of a run that failed, what its device asked for: cpu_openvino."""
    if record.metrics is not None:
        return record.metrics.runtime
    return record.choices.get("device", "").partition("_")[2] or "torch"


def _knobs(record: RunRecord, group: str) -> list[str]:
    """The settings that tell the group's choice from others, by the shortest names that do."""
    settings = record.settings(group)
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
            knobs[path] = functools.reduce(entry, path, settings)
    known = {path: value for path, value in knobs.items() if value is not MISSING}
    return [f"{_name(path, known)}={_short(value)}" for path, value in known.items()]


def entry(settings: Any, name: str) -> Any:
    """A setting; `MISSING` where an override is of something that the config does not have."""
    return settings.get(name, MISSING) if isinstance(settings, Mapping) else MISSING


def _name(path: tuple[str, ...], paths: Iterable[tuple[str, ...]]) -> str:
    """The end of a path that is no other one's: "sparsity", or "heads.sparsity"."""
    others = [other for other in paths if other != path]
    lengths = range(1, len(path))
    unique = (n for n in lengths if all(other[-n:] != path[-n:] for other in others))
    return ".".join(path[-next(unique, len(path)) :])


def _short(value: object) -> str:
    """A search draws numbers with 16 digits; 4 tell its trials apart."""
    return f"{value:.4g}" if isinstance(value, float) else shortened(str(value), LONGEST_KNOB)


def _choice(group: str) -> Callable[[RunRecord], object]:
    return lambda record: record.choices.get(group)


RUN = Column("run", "text", NO_UNIT, "its folder, relative to the report's", lambda _: None)
# Of every run, whatever became of it: these stand before the figures,
IDENTITY = (
    Column("status", "text", NO_UNIT, "ok, failed or infeasible", lambda r: r.status),
    Column("recipe", "text", NO_UNIT, "what was done to the teacher, in a few words", recipe),
    *(
        Column(group, "text", NO_UNIT, f"the choice of {group}", _choice(group))
        for group in ("teacher", *STAGES, "task")
    ),
    Column("seed", "integer", NO_UNIT, "of everything that is drawn", lambda r: r.seed),
)
# and these after them.
OUTCOME = (
    Column("seconds", "number", SECONDS, "that the run took", lambda r: r.seconds),
    Column(
        "measuring_seconds", "number", SECONDS, "what of them went into measuring",
        lambda r: r.measuring_seconds,
    ),
    Column("error", "text", NO_UNIT, "why there are no figures", lambda r: r.error),
)  # fmt: skip


def _columns(runs: Sequence[tuple[Path, RunRecord]]) -> Iterator[Column]:
    """All columns but the first, in their order."""
    yield from IDENTITY
    yield from map(_of_figures, MEASURED)
    timed = ((speed.batch, speed.length) for _, record in runs for speed in record.speedup)
    for shape in dict.fromkeys(timed):
        yield from (_of_figures(column.at(*shape)) for column in SHAPED)
    yield from map(_of_figures, SURROUNDINGS)
    yield from OUTCOME


def _of_figures(column: Column) -> Column:
    """The column, empty for runs that bear no figures."""

    def read(record: RunRecord) -> object:
        return column.read(record) if record.metrics is not None else None

    return replace(column, read=read)


def _pattern(column: Column | ShapeColumn) -> str:
    is_shaped = isinstance(column, ShapeColumn)
    return f"{column.name}_<batch>x<length>" if is_shaped else column.name
