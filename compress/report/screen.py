"""The short version of a report, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from compress.metrics import METRICS
from compress.records import ModelMetrics, RunRecord, Speedup
from compress.report.table import recipe
from compress.report.words import (
    NO_DIFFERENCE,
    SIGNIFICANT,
    p_words,
    shared_words,
    speedup_words,
    warnings,
)
from compress.report.write import Report

ROWS = 20
SECTIONS = 4
CHANGE = f"change: of accuracy against the teacher; p of {SIGNIFICANT} or more may be chance"


def show(report: Report, console: Console) -> None:
    """Prints the best rows by accuracy, what failed and why, what to ship, where the files are."""
    runs = report.collection.ok
    for words in warnings(runs):
        console.print(f"[yellow]{escape(words)}[/]")
    if runs:
        console.print(_table(report))
    for words in shared_words(runs):
        console.print(escape(words))
    for folder, record in report.collection.failed:
        console.print(f"[red]failed[/] {escape(str(folder))}: {escape(record.error or '')}")
    for reason in report.collection.broken:
        console.print(f"[red]unreadable[/] {escape(reason)}")
    console.print(f"{report.summary()}; tables in {escape(str(report.folder))}")
    for plot in report.plots:
        console.print(f"Pareto plot: {escape(str(plot))}", soft_wrap=True)
    for line in verdicts(report):
        console.print(f"[bold]{escape(line)}[/]", soft_wrap=True)
    console.print(f"Report: {escape(str(report.page))}", soft_wrap=True)


def verdicts(report: Report) -> Iterator[str]:
    """What to ship, a line a section; of many sections the first few."""
    several = len(report.advice) > 1
    for advice in report.advice[:SECTIONS]:
        section = advice.section
        where = f"{section.task} on {section.machine}, {section.device}: " if several else ""
        yield f"{where}{advice.words[0]}"
    if len(report.advice) > SECTIONS:
        yield f"… and {len(report.advice) - SECTIONS} more sections"


def _table(report: Report) -> Table:
    runs = sorted(report.collection.ok, key=lambda run: -METRICS["accuracy"].read(run[1]))
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    # These two are what gives way on a narrow screen: words can be broken, figures must stay whole.
    table.add_column("run", overflow="fold")
    table.add_column("recipe", overflow="fold")
    shape = runs[0][1].speedup[0]
    milliseconds = f"ms\n{shape.batch}×{shape.length}"
    for column in ("accuracy", "change", "MB", milliseconds, "speed-up"):
        table.add_column(column, justify="right", no_wrap=True)
    # Teachers of different tasks or machines are different rows.
    teachers: dict[tuple[str, str, int], ModelMetrics] = {}
    for _, record in runs:
        assert record.baseline is not None
        key = (record.choices["teacher"], record.choices["task"], record.baseline.size_bytes)
        teachers.setdefault(key, record.baseline)
    for (name, task, _), baseline in teachers.items():
        figures = _figures(baseline, "")
        table.add_row("", escape(f"teacher {name} on {task}"), *figures, "1")
    table.add_section()
    for folder, record in runs[:ROWS]:
        assert record.metrics is not None
        figures = _figures(record.metrics, _change(record))
        ratio = _speedup(record.speedup[0])
        table.add_row(escape(folder.name), escape(recipe(record)), *figures, ratio)
    table.caption = CHANGE if any(record.comparison for _, record in runs) else None
    if len(runs) > ROWS:
        table.caption = (
            f"{table.caption or ''}\nthe {ROWS} most accurate of {len(runs)} runs".strip()
        )
    return table


def _change(record: RunRecord) -> str:
    """Whether accuracy differs from the teacher's, as short as can be."""
    return "" if record.comparison is None else p_words(record.comparison)


def _speedup(speed: Speedup) -> str:
    return NO_DIFFERENCE if speed.difference is False else speedup_words(speed)


def _figures(metrics: ModelMetrics, change: str) -> tuple[str, str, str, str]:
    return (
        f"{metrics.score.value:.3f}",
        change,
        f"{metrics.size_bytes / 1e6:.1f}",
        f"{metrics.latency[0].median_ms:.1f}",
    )
