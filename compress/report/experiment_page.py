"""An experiment's table for a terminal and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.console import Console

from compress.experiment.definition import SAVED, figure
from compress.records.markdown import plain_text
from compress.records.metrics import METRICS
from compress.records.schema import FinishedRun
from compress.records.words import NO_DIFFERENCE, warnings
from compress.report.experiment import ExperimentTable, Line
from compress.report.tables import markdown_table, screen_table
from compress.system.terminal import plain

ABSENT = "–"
ALWAYS = ("size_bytes", SAVED, "speedup")  # besides the score, and whatever else was published
HEADS = {"size_bytes": "MB", "speedup": "speed-up"}
FIGURE = 8  # characters of the longest figure, such as 12345.6
TAILS = (
    "P95 is reported from 200 timed passes on and P99 from 1,000: they need 10 beyond them "
    "(device.benchmark.seconds)."
)


def show_tables(tables: Sequence[ExperimentTable], console: Console) -> None:
    """Prints each experiment, what must be known of it, and what its goals have come to."""
    for table in tables:
        shown = screen_table(plain(table.experiment.name))
        shown.caption = plain("(interval of 95 %), [published]")
        # On a narrow screen lines are broken between words, so that every figure stays whole.
        shown.add_column("row", overflow="fold")
        names = _figures(table)
        heads = [HEADS.get(name, name) for name in names]
        for head in (*heads, f"ms{_shape(table)}\nP50\nP95\nP99", "per s"):
            shown.add_column(plain(head), justify="right", min_width=FIGURE)
        for line in table.lines:
            cells = ["\n".join(filter(None, _parts(line, name))) for name in names]
            times, per_second = _times(line)
            row = (line.name, *cells, "\n".join(times), per_second)
            shown.add_row(*map(plain, row), end_section=True)
        console.print(shown)
        for words in _notes(table):
            console.print(plain(words), soft_wrap=True)
        for words in _goals(table):
            console.print(f"[bold]{plain(words)}[/]", soft_wrap=True)


def tables_markdown(tables: Sequence[ExperimentTable]) -> str:
    """The same as a page."""
    parts = []
    for table in tables:
        names = _figures(table)
        heads = ["row"]
        for name in names:
            heads += [HEADS.get(name, name), "published"]
        heads += [f"ms{_shape(table)}: P50 / P95 / P99", "per s"]
        rows = []
        for line in table.lines:
            found = [line.name]
            for value, interval, published in (_parts(line, name) for name in names):
                found += [f"{value} {interval}".strip(), published.strip("[]") or ABSENT]
            times, per_second = _times(line)
            rows.append([*found, " / ".join(times), per_second])
        parts += [
            [f"# {plain_text(table.experiment.name)}"],
            markdown_table(heads, rows),
            [f"- {plain_text(words)}" for words in _notes(table)],
            [f"- **{plain_text(words)}**" for words in _goals(table)],
        ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _shape(table: ExperimentTable) -> str:
    """The shape that was timed; nothing if runs differ in it."""
    shapes = {(each.speedup[0].batch, each.speedup[0].length) for _, each in table.runs}
    return " {}×{}".format(*shapes.pop()) if len(shapes) == 1 else ""


def _parts(line: Line, name: str) -> tuple[str, str, str]:
    """A figure, its interval in brackets if it has one, and what was published in square ones."""
    found = line.published(name)
    published = "" if found is None else f"[{_words(name, found)}]"
    if line.record is None:
        return line.status, "", published
    value = _words(name, figure(line.record, name))
    score = line.record.metrics.score
    if name == score.metric:
        return value, f"({score.low:.3f} to {score.high:.3f})", published
    if name == "speedup":
        speed = line.record.speedup[0]
        value = value if speed.counts else NO_DIFFERENCE
        return value, f"({speed.low:.2f} to {speed.high:.2f})", published
    return value, "", published


def _times(line: Line) -> tuple[tuple[str, ...], str]:
    """P50, P95 and P99 at the first shape, and rows per second; dashes for what is not known."""
    if line.record is None:
        return (ABSENT,), ABSENT
    latency = line.record.metrics.latency[0]
    times = (latency.median_ms, latency.p95_ms, latency.p99_ms)
    words = tuple(ABSENT if each is None else f"{each:.2f}" for each in times)
    return words, f"{latency.samples_per_second:.1f}"


def _notes(table: ExperimentTable) -> Iterator[str]:
    """What must be known of the figures, a sentence each."""
    yield f"Published: {table.experiment.source}."
    changed = [", ".join(table.changed)] if table.changed else []
    changed += [f"{', '.join(rows)}: {words}" for words, rows in table.row_changes().items()]
    yield (
        f"The set-up differs from the yaml: {'; '.join(changed)}."
        if changed
        else "The set-up is that of the yaml."
    )
    yield from dict.fromkeys(_circumstances(record) for _, record in table.runs)
    yield from warnings(table.runs)
    if any(record.metrics.latency[0].p99_ms is None for _, record in table.runs):
        yield TAILS
    for line in table.lines:
        if line.run is not None and line.record is None:
            yield f"{line.name} {line.status} ({line.run[0]}): {line.run[1].error}"
    if absent := [line.name for line in table.lines if line.run is None]:
        yield f"Not run, or without a record: {', '.join(absent)}."
    for name, folders in table.repeated().items():
        yield f"{name} was run {len(folders)} times: {', '.join(map(str, folders))}."


def _goals(table: ExperimentTable) -> Iterator[str]:
    for line in table.lines:
        for goal in line.goals():
            name = goal.bound.metric
            words = f"Goal of {line.name}, {name} {goal.bound}"
            if goal.met is None:
                yield f"{words}: unknown, without a figure."
            else:
                limit = _words(name, goal.bound.bound(goal.baseline))
                verdict = "met" if goal.met else "missed"
                yield f"{words}: {verdict}, {_words(name, goal.value)} against {limit}."


def _circumstances(record: FinishedRun) -> str:
    """Of what teacher, on which rows, where."""
    found = record.environment
    return (
        f"Teacher {record.choices['teacher']} on {record.choices['task']}, n = "
        f"{record.metrics.score.samples} ({record.data.source}); {found.machine}, "
        f"{found.device}."
    )


def _figures(table: ExperimentTable) -> list[str]:
    """The score, what else was published, and what there always is."""
    published = [name for line in table.lines for name in line.row.published]
    others = [name for name in published if name not in ALWAYS]
    return list(dict.fromkeys((table.experiment.metric, *others, *ALWAYS)))


def _words(name: str, value: float) -> str:
    """A figure as it is read: bytes in MB, shares with four digits."""
    if math.isnan(value):
        return ABSENT
    if name == SAVED:
        return f"{round(100 * value, 1) + 0.0:.1f} %"  # no -0.0
    kind = METRICS[name].unit
    if kind == "bytes":
        return f"{value / 1e6:.1f}"
    return f"{value:.4f}" if kind in ("fraction", "correlation") else f"{value:.2f}"
