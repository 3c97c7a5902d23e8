"""The short version of a report, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from compress.records.recipe import recipe
from compress.records.schema import FinishedRun, ModelMetrics
from compress.records.score_words import (
    document_bytes,
    has_own_index,
    kind_of,
    most_words,
    value_words,
)
from compress.records.scores import ScoreKind
from compress.records.words import (
    NO_DIFFERENCE,
    SIGNIFICANT,
    UNCERTAIN,
    UNCERTAIN_TIMES,
    by_score,
    p_words,
    shared_words,
    speedup_words,
    warnings,
)
from compress.report.controls import control_rows
from compress.report.points import compared_ms, shapes_of, teacher_ms
from compress.report.sections import Section, sections
from compress.report.seeds import COLUMNS, SeedRow, seed_rows, seed_words
from compress.report.tables import screen_table
from compress.report.write import Report
from compress.system.logs import shown_path
from compress.system.terminal import plain

ROWS = 20
SECTIONS = 4


def show(report: Report, console: Console) -> None:
    """Prints the best rows by score, what failed and why, what to ship, where the files are."""
    runs = report.collection.ok
    for words in warnings(runs):
        console.print(f"[yellow]{plain(words)}[/]")
    for which in by_score(runs):
        console.print(_table(which))
    for section in sections(runs):
        if lines := seed_rows(section):
            console.print(_seed_table(section, lines))
    for words in shared_words(runs):
        console.print(plain(words))
    for folder, record in report.collection.failed:
        console.print(f"[red]failed[/] {plain(shown_path(folder))}: {plain(record.error)}")
    for reason in report.collection.broken:
        console.print(f"[red]unreadable[/] {plain(reason)}")
    console.print(f"{report.summary()}; tables in {plain(shown_path(report.folder))}")
    for plot in report.plots:
        console.print(f"Pareto plot: {plain(shown_path(plot))}", soft_wrap=True)
    for line in verdicts(report):
        console.print(f"[bold]{plain(line)}[/]", soft_wrap=True)
    console.print(f"Report: {plain(shown_path(report.page))}", soft_wrap=True)


def verdicts(report: Report) -> Iterator[str]:
    """What to ship, a line a section; of many sections the first few."""
    several = len(report.advice) > 1
    for advice in report.advice[:SECTIONS]:
        section = advice.section
        where = f"{section.task} on {section.machine}, {section.device}: " if several else ""
        yield f"{where}{advice.words[0]}"
    if len(report.advice) > SECTIONS:
        yield f"… and {len(report.advice) - SECTIONS} more sections"


def _table(found: Sequence[tuple[Path, FinishedRun]]) -> Table:
    """Best of some runs with one primary metric."""
    runs = sorted(found, key=lambda run: -run[1].metrics.score.quality)
    kind = kind_of(runs[0][1].metrics.score)
    table = screen_table()
    # These two are what gives way on a narrow screen: words can be broken, figures must stay whole.
    table.add_column("run", overflow="fold")
    table.add_column("recipe", overflow="fold")
    shape = runs[0][1].speedup[0]
    milliseconds = f"ms\n{shape.batch}×{shape.length}"
    indexed = any(has_own_index(record) for _, record in runs)
    columns = (kind.words.replace(" ", "\n"), "change", "MB", milliseconds, "speed-up")
    for column in (*columns, *(["index\nbytes"] if indexed else ())):
        table.add_column(column, justify="right", no_wrap=True)
    parts = [[record for _, record in section.runs] for section in sections(runs)]
    beside = {id(record): part for part in parts for record in part}
    # Teachers of different tasks or machines are different rows.
    for part in parts:
        first = part[0]
        title = f"teacher {first.choices['teacher']} on {first.choices['task']}"
        figures = _figures(first.baseline, "", f"{teacher_ms(part, shapes_of(part)[0]):.1f}")
        index = [document_bytes(first.baseline.score)] if indexed else []
        table.add_row("", plain(title), *figures, "1", *index)
    for part in parts:
        for row in control_rows(part):
            table.add_row("", plain(row.title), *_cells(row.record, part))
    table.add_section()
    for folder, record in runs[:ROWS]:
        table.add_row(
            plain(folder.name),
            plain(recipe(record)),
            *_cells(record, beside[id(record)]),
            *([document_bytes(record.metrics.score)] if indexed else ()),
        )
    table.caption = "\n".join(_captions(runs, kind))
    return table


def _seed_table(section: Section, lines: Sequence[SeedRow]) -> Table:
    table = screen_table()
    table.add_column(COLUMNS[0], overflow="fold")
    for column in COLUMNS[1:]:
        table.add_column(column, justify="right", no_wrap=True)
    for line in lines:
        table.add_row(*map(plain, line.cells()), style="bold" if line.is_best else None)
    table.caption = plain(seed_words(section))
    return table


def _cells(record: FinishedRun, beside: Sequence[FinishedRun]) -> tuple[str, ...]:
    """Figures of a run, or of a control, which may not have been timed.

    Its time compares with those of the runs beside it, see `points`.
    """
    ours, change = record.metrics, p_words(record.comparison)
    if not record.speedup:
        return *_figures(ours, change, "–"), "–"
    speed = record.speedup[0]
    time = f"{compared_ms(speed, beside):.1f}"
    if not speed.counts:
        return *_figures(ours, change, f"{UNCERTAIN}{time}"), NO_DIFFERENCE
    return *_figures(ours, change, time), speedup_words(speed)


def _captions(runs: Sequence[tuple[Path, FinishedRun]], kind: ScoreKind) -> Iterator[str]:
    """Notes below a table."""
    yield f"change: of {kind.words} against the teacher; significant if p is below {SIGNIFICANT}"
    if kind.better == "lower":
        yield f"{kind.words}: lower is better"
    if not all(record.speedup[0].counts for _, record in runs):
        yield UNCERTAIN_TIMES
    yield "ms: the teacher's median over all runs, divided by the run's speed-up"
    if len(runs) > ROWS:
        yield f"the {ROWS} {most_words(kind)} of {len(runs)} runs"


def _figures(metrics: ModelMetrics, change: str, median: str) -> tuple[str, str, str, str]:
    score = value_words(kind_of(metrics.score), metrics.score.value, 3)
    return score, change, f"{metrics.size_bytes / 1e6:.1f}", median
