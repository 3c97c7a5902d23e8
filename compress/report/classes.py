"""What a classifier does beside its teacher: probabilities, classes, and rows that flipped."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from compress.config.legible import shortened, visible
from compress.records.probabilities import RELIABILITY_WORDS, Calibration, ClassScore
from compress.records.schema import FinishedRun
from compress.store.run_folder import FLIPS

LISTED = 10  # rows of each kind that are shown
LONGEST = 300  # characters of a text that are shown
LARGEST = 2**26  # bytes of a file that is read


@dataclass(frozen=True)
class FlippedRow:
    """A row that only the model or its teacher has right, as words."""

    label: str
    teacher: str
    model: str
    text: str


@dataclass(frozen=True)
class FlippedRows:
    """The first rows of each kind, and how many there are."""

    regressed: tuple[FlippedRow, ...]
    improved: tuple[FlippedRow, ...]
    n_regressed: int
    n_improved: int


def probability_rows(record: FinishedRun) -> Iterator[tuple[str, str, str]]:
    """Figure, the model's and the teacher's, as words; nothing of models without classes."""
    ours, theirs = record.metrics.calibration, record.baseline.calibration
    if ours is None or theirs is None:
        return
    for name, words in RELIABILITY_WORDS.items():
        yield words, _scaled(ours, name), _scaled(theirs, name)
    yield "temperature", f"{ours.temperature:.2f}", f"{theirs.temperature:.2f}"


def class_rows(record: FinishedRun) -> Iterator[tuple[str, str, str, str]]:
    """Class, rows, precision and recall, each beside the teacher's."""
    for ours, theirs in zip(record.metrics.classes, record.baseline.classes, strict=False):
        yield (
            ours.name,
            f"{ours.support:,}",
            _beside(ours, theirs, "precision"),
            _beside(ours, theirs, "recall"),
        )


def flipped_rows(folder: Path) -> FlippedRows | None:
    """The rows that flipped in a run; null if its folder does not tell."""
    path = folder / FLIPS
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            return None
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error):
        return None
    kinds = {
        kind: [_row(row) for row in rows if row.get("change") == kind]
        for kind in ("regressed", "improved")
    }
    lost, won = kinds["regressed"], kinds["improved"]
    return FlippedRows(tuple(lost[:LISTED]), tuple(won[:LISTED]), len(lost), len(won))


def _row(row: dict[str, str | None]) -> FlippedRow:
    texts = [row.get(name) for name in ("text", "second")]
    text = " / ".join(text.removeprefix("'") for text in texts if text)
    label, teacher, model = (
        visible((row.get(name) or "").removeprefix("'")) for name in ("label", "teacher", "model")
    )
    return FlippedRow(label, teacher, model, shortened(visible(text), LONGEST))


def _scaled(found: Calibration, name: str) -> str:
    """With the temperature, and without it."""
    return f"{getattr(found.scaled, name):.4f} ({getattr(found.plain, name):.4f} without it)"


def _beside(ours: ClassScore, theirs: ClassScore, name: str) -> str:
    mine, other = (getattr(each, name) for each in (ours, theirs))
    words = ["–" if value is None else f"{value:.3f}" for value in (mine, other)]
    return f"{words[0]} (teacher {words[1]})"
