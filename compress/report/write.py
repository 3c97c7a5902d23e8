"""From folders of runs to results.csv, results.md and Pareto plots."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pandas as pd

from compress.files import write_atomically
from compress.records import RunRecord
from compress.report.collect import Collection, collect
from compress.report.plot import plot_pareto
from compress.report.table import recipe, results_table


@dataclass(frozen=True)
class Report:
    """What was found and what was written."""

    collection: Collection
    table: pd.DataFrame
    folder: Path
    plots: tuple[Path, ...]

    def summary(self) -> str:
        """How many runs of each kind there are, in one line."""
        found = self.collection
        words = [f"{len(found.ok)} ok", f"{len(found.failed)} failed"]
        if found.unfinished:
            words.append(f"{len(found.unfinished)} unfinished")
        if found.broken:
            words.append(f"{len(found.broken)} unreadable")
        return ", ".join(words)


def write_report(folders: Sequence[Path], out: Path) -> Report:
    """Reads every record below the folders and writes tables and plots into `out`.

    Raises:
        UserError: a folder does not exist.
    """
    collection = collect(folders)
    root = folders[0] if len(folders) == 1 else Path.cwd()
    out.mkdir(parents=True, exist_ok=True)
    table = results_table(collection.runs, root)
    plots = tuple(_plots(collection.ok, out))
    report = Report(collection, table, out, plots)
    write_atomically(out / "results.csv", table.to_csv(index=False))
    write_atomically(out / "results.md", _markdown(report))
    return report


def _plots(runs: Iterable[tuple[Path, RunRecord]], out: Path) -> Iterable[Path]:
    """One plot for each task and machine: figures of different ones are not comparable."""

    def place(run: tuple[Path, RunRecord]) -> tuple[str, str, str]:
        record = run[1]
        assert record.environment is not None
        assert record.data is not None
        env = record.environment
        return record.choices["task"], record.data.digest, f"{env.machine}, {env.device}"

    groups = [list(group) for _, group in groupby(sorted(runs, key=place), key=place)]
    for old in out.glob("pareto*.png"):
        old.unlink()
    for number, group in enumerate(groups, start=1):
        task = re.sub(r"[^a-z0-9_]+", "-", group[0][1].choices["task"].lower())
        name = "pareto.png" if len(groups) == 1 else f"pareto-{number}-{task}.png"
        plot_pareto(group, out / name)
        yield out / name


def _markdown(report: Report) -> str:
    """The table for reading: the figures that matter, failed runs with their reasons."""
    found = report.collection
    lines = [f"# Results: {report.summary()}", "", *_rows(found.ok)]
    if found.failed:
        lines += [
            "",
            "## Failed runs",
            "",
            *(f"- {_cell(f)}: {_cell(r.error)}" for f, r in found.failed),
        ]
    if found.unfinished:
        lines += ["", "## Unfinished runs", "", *(f"- {_cell(f)}" for f in found.unfinished)]
    if found.broken:
        lines += [
            "",
            "## Unreadable records",
            "",
            *(f"- {_cell(reason)}" for reason in found.broken),
        ]
    return "\n".join(lines) + "\n"


COLUMNS = (
    "run", "task", "recipe", "accuracy", "95 % interval", "teacher", "sparsity", "MB", "teacher MB",
    "shape", "ms", "teacher ms", "speed-up", "95 % interval",
)  # fmt: skip


def figures(folder: Path, record: RunRecord) -> tuple[str, ...]:
    """One run's figures as words, in the order of `COLUMNS`."""
    assert record.metrics is not None
    assert record.baseline is not None
    ours, theirs, speed = record.metrics, record.baseline, record.speedup[0]
    score, latency = ours.score, ours.latency[0]
    return (
        folder.name,
        record.choices["task"],
        recipe(record),
        f"{score.accuracy:.4f}",
        f"{score.accuracy_low:.3f} to {score.accuracy_high:.3f}",
        f"{theirs.score.accuracy:.4f}",
        f"{ours.sparsity:.3f}",
        f"{ours.size_bytes / 1e6:.1f}",
        f"{theirs.size_bytes / 1e6:.1f}",
        f"{latency.batch}×{latency.length}",
        f"{latency.median_ms:.2f}",
        f"{theirs.latency[0].median_ms:.2f}",
        f"{speed.ratio:.2f}",
        f"{speed.low:.2f} to {speed.high:.2f}",
    )


def _rows(runs: Sequence[tuple[Path, RunRecord]]) -> list[str]:
    rows = [COLUMNS, ("---",) * len(COLUMNS), *(figures(*run) for run in runs)]
    return ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]


def _cell(value: object) -> str:
    """Text that cannot break out of a Markdown table or bring HTML into it."""
    text = " ".join(str(value).split())
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
