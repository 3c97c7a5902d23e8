"""What the folds of a section's runs say: a table of means and standard deviations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from compress.records.folds import Spread
from compress.records.metrics import METRICS
from compress.report.points import run_name
from compress.report.sections import Section

# Other bytes and counts hardly differ from fold to fold; each fold's record has them.
UNTOLD = ("bytes", "count", "per second")
SIZE = "size_bytes"


def fold_figures(section: Section) -> list[str]:
    """The figures that the table has, by name; none where no run has folds."""
    found = [record.folds for _, record in section.runs if record.folds is not None]
    return [
        name
        for name, metric in METRICS.items()
        if (metric.unit not in UNTOLD or name == SIZE) and any(name in f.figures for f in found)
    ]


def fold_rows(section: Section, root: Path) -> Iterator[tuple[str, ...]]:
    """Two rows a run with folds: its name, how many folds, whose the figures are, the figures."""
    names = fold_figures(section)
    for folder, record in section.runs:
        if record.folds is not None:
            count = str(len(record.folds.folders))
            yield run_name(folder, root), count, "model", *_cells(record.folds.figures, names)
            yield "", "", "teacher", *_cells(record.folds.baseline, names)


def _cells(figures: Mapping[str, Spread], names: list[str]) -> list[str]:
    return [str(figures[name]) if name in figures else "–" for name in names]
