"""From folders of runs to report.html, tables (.csv, .parquet, .md, .tex) and Pareto plots."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from compress.analysis.decision import Rule
from compress.config.errors import UserError
from compress.records.collect import Collection, collect
from compress.records.csv_text import csv_text
from compress.records.markdown import plain_text
from compress.records.recipe import recipe
from compress.records.schema import FinishedRun
from compress.records.score_words import (
    axis_words,
    document_bytes,
    has_own_index,
    kind_of,
    score_words,
    value_words,
)
from compress.records.words import (
    UNCERTAIN_TIMES,
    by_score,
    change_words,
    median_words,
    megabytes,
    saved_words,
    shared_words,
    speedup_words,
    target_sparsity,
    warnings,
)
from compress.report.controls import control_rows
from compress.report.html.page import CSV, PAGE, render_page
from compress.report.paper.latex import latex_tables
from compress.report.paper.plot import plot_pareto
from compress.report.recommend import Advice, advise
from compress.report.sections import Section, sections
from compress.report.seeds import COLUMNS, seed_rows, seed_words
from compress.report.table import results_table
from compress.report.tables import markdown_table
from compress.report.written import replaced_files
from compress.system.files import write_atomically

PARQUET, LATEX, MARKDOWN = (f"results.{end}" for end in ("parquet", "tex", "md"))


@dataclass(frozen=True)
class Report:
    """What was found and what was written; an SVG lies beside each plot."""

    collection: Collection
    table: pd.DataFrame
    folder: Path
    plots: tuple[Path, ...]
    advice: tuple[Advice, ...]
    page: Path

    def summary(self) -> str:
        """How many runs of each kind there are, in one line."""
        found = self.collection
        words = [f"{len(found.ok)} ok", f"{len(found.failed)} failed"]
        others = (
            ("infeasible", found.infeasible),
            ("unfinished", found.unfinished),
            ("unreadable", found.broken),
        )
        words += [f"{len(which)} {name}" for name, which in others if which]
        return ", ".join(words)


def write_report(folders: Sequence[Path], out: Path, rule: Rule | None = None) -> Report:
    """Reads every record below the folders and writes tables, plots and a page into `out`.

    The rule recommends a run; without one, that which the runs were started with.

    Raises:
        UserError: a folder does not exist, there is no run, or `out` is a file or has one of a
            report's name that no report has written.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"--out must be a folder, got the file {out}")
    collection = collect(folders)
    if not collection.runs and not collection.broken and not collection.unfinished:
        raise UserError(f"there is no run, no metrics.json, in {', '.join(map(str, folders))}")
    root = folders[0] if len(folders) == 1 else Path.cwd()
    out.mkdir(parents=True, exist_ok=True)
    table = results_table(collection.runs, root)
    parts = sections(collection.ok)
    plots = {out / name: section for name, section in _plot_names(parts)}
    advice = tuple(advise(part, root, rule) for part in parts)
    report = Report(collection, table, out, tuple(plots), advice, out / PAGE)
    pairs = [path.with_suffix(end).name for path in plots for end in (".png", ".svg")]
    with replaced_files(out, {CSV, PARQUET, LATEX, MARKDOWN, PAGE, *pairs}):
        for path, section in plots.items():
            plot_pareto(section.runs, path)
        write_atomically(out / CSV, csv_text(table))
        # pyarrow is what `datasets` keeps its rows in, so it is there.
        write_atomically(out / PARQUET, table.to_parquet(engine="pyarrow", index=False))
        write_atomically(out / LATEX, latex_tables(parts))
        write_atomically(out / MARKDOWN, _markdown(report))
        write_atomically(report.page, render_page(collection, advice, root, report.summary(), out))
    return report


def _plot_names(parts: Sequence[Section]) -> Iterator[tuple[str, Section]]:
    """One plot for each section: figures of different ones are not comparable."""
    for number, section in enumerate(parts, start=1):
        task = re.sub(r"[^a-z0-9_]+", "-", section.task.lower())
        yield "pareto.png" if len(parts) == 1 else f"pareto-{number}-{task}.png", section


def _markdown(report: Report) -> str:
    """The tables for reading: the figures that matter, failed runs with their reasons."""
    found = report.collection
    parts = [[f"# Results: {report.summary()}"], _lines(warnings(found.ok), "**{}**")]
    for runs in by_score(found.ok):
        controls = control_rows(record for _, record in runs)
        rows = [figures("–", row.title, row.record) for row in controls]
        rows += [figures(folder.name, recipe(record), record) for folder, record in runs]
        if any(has_own_index(record) for _, record in runs):
            shown = ["–" for _ in controls]
            shown += [document_bytes(record.metrics.score) for _, record in runs]
            pairs = zip(rows, shown, strict=True)
            rows = [{**row, "index bytes a document": index} for row, index in pairs]
        parts += [_rows(rows)]
        if not all(record.speedup[0].counts for _, record in runs):
            parts += [[f"{UNCERTAIN_TIMES}."]]
    for section in sections(found.ok):
        if lines := seed_rows(section):
            title = f"Over seeds: {section.task}"
            table = markdown_table(COLUMNS, [line.cells() for line in lines])
            parts += _section(title, [plain_text(seed_words(section)), "", *table])
    parts += _section("In plain words", _lines(shared_words(found.ok)))
    if found.ok:
        parts += _section("Bytes, in MB", _rows([sizes(*run) for run in found.ok]))
    failed = [f"{folder}: {record.error}" for folder, record in found.failed]
    parts += _section("Failed runs", _lines(failed))
    parts += _section("Unfinished runs", _lines(found.unfinished))
    parts += _section("Unreadable records", _lines(found.broken))
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _section(title: str, lines: list[str]) -> list[list[str]]:
    """A heading and its lines; nothing without lines."""
    return [[f"## {plain_text(title)}"], lines] if lines else []


def _lines(words: Iterable[object], form: str = "- {}") -> list[str]:
    """Lines of this form."""
    return [form.format(plain_text(str(each))) for each in words]


def figures(run: str, made: str, record: FinishedRun) -> dict[str, str]:
    """The figures of a run, or of a control, as words, by column; `made` is its recipe."""
    ours, theirs = record.metrics, record.baseline
    kind, timed = kind_of(ours.score), theirs.latency[0]
    speed = record.speedup[0] if record.speedup else None
    return {
        "run": run,
        "task": record.choices["task"],
        "recipe": made,
        "computes in": ours.precision or "–",
        axis_words(kind): score_words(ours.score),
        "teacher": value_words(kind, theirs.score.value, 4),
        "change": change_words(record),
        "MB": megabytes(ours.size_bytes),
        "saved": saved_words(record),
        "shape": f"{timed.batch}×{timed.length}",
        "ms": "–" if speed is None else median_words(speed, ours.latency[0], timed, 2),
        "teacher ms": f"{timed.median_ms:.2f}",
        "speed-up": "–" if speed is None else speedup_words(speed),
    }


def sizes(folder: Path, record: FinishedRun) -> dict[str, str]:
    """One run's zeros and bytes as words, by column."""
    ours, theirs = record.metrics, record.baseline
    asked = target_sparsity(record)
    return {
        "run": folder.name,
        "recipe": recipe(record),
        "zeros asked": "–" if asked is None else f"{asked:.3f}",
        "zeros found": f"{ours.sparsity:.3f}",
        "files": megabytes(ours.size_bytes),
        "teacher's files": megabytes(theirs.size_bytes),
        "zipped": megabytes(ours.zipped_bytes),
        "bitmask": megabytes(ours.bitmask_bytes),
        "resident memory": megabytes(ours.resident_bytes),
        "peak memory": megabytes(ours.peak_memory_bytes),
    }


def _rows(rows: Sequence[Mapping[str, str]]) -> list[str]:
    return markdown_table(list(rows[0]), [list(row.values()) for row in rows])
