"""The short version of a report, for a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from compress.report.table import recipe
from compress.report.write import Report

ROWS = 20


def show(report: Report, console: Console) -> None:
    """Prints the best rows by accuracy, what failed and why, and where the files are."""
    runs = report.collection.ok
    if runs:
        console.print(_table(report))
    for folder, record in report.collection.failed:
        console.print(f"[red]failed[/] {escape(str(folder))}: {escape(record.error or '')}")
    for reason in report.collection.broken:
        console.print(f"[red]unreadable[/] {escape(reason)}")
    console.print(f"{report.summary()}; tables in {escape(str(report.folder))}")
    for plot in report.plots:
        console.print(f"Pareto plot: {escape(str(plot))}", soft_wrap=True)


def _table(report: Report) -> Table:
    table = Table(title=None, header_style="bold")
    for column in ("run", "recipe"):
        table.add_column(column)
    for column in ("accuracy", "teacher", "MB", "teacher", "ms", "teacher", "speed-up [95 %]"):
        table.add_column(escape(column), justify="right", no_wrap=True)
    runs = sorted(report.collection.ok, key=lambda run: -_accuracy(run[1]))
    for folder, record in runs[:ROWS]:
        ours, theirs, speed = record.metrics, record.baseline, record.speedup[0]
        assert ours is not None
        assert theirs is not None
        table.add_row(
            escape(folder.name),
            escape(recipe(record)),
            f"{ours.score.accuracy:.3f}",
            f"{theirs.score.accuracy:.3f}",
            f"{ours.size_bytes / 1e6:.1f}",
            f"{theirs.size_bytes / 1e6:.1f}",
            f"{ours.latency[0].median_ms:.1f}",
            f"{theirs.latency[0].median_ms:.1f}",
            escape(f"{speed.ratio:.2f} [{speed.low:.2f}, {speed.high:.2f}]"),
        )
    if len(runs) > ROWS:
        table.caption = f"{ROWS} of {len(runs)} runs"
    return table


def _accuracy(record: object) -> float:
    metrics = getattr(record, "metrics", None)
    return float(metrics.score.accuracy)
