"""What a page says first: its title, the figures of the run to ship, and where its files are."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from urllib.parse import quote

from compress.config.legible import visible
from compress.records.schema import FILE, FinishedRun
from compress.records.score_words import kind_of, lost_words, value_words
from compress.records.words import NO_DIFFERENCE, megabytes
from compress.report.points import known_speedup
from compress.report.recommend import Advice, Pick

LOG = "run.log"
NAMED = ("path", "id")  # settings that tell a teacher, or rows, from others of the same choice


def page_title(advice: Sequence[Advice], root: Path) -> str:
    """Task, teacher and date of a report's runs; of several sections the folder's name."""
    if len(advice) != 1:
        return f"What to ship: {visible(root.resolve().name)}"
    date = min(record.started for _, record in advice[0].section.runs)[:10]
    return f"What to ship: {section_title(advice[0])}, {date}"


def section_title(advice: Advice) -> str:
    """Task and teacher of a section."""
    record = advice.section.runs[0][1]
    return f"{_named(record, 'task')}, teacher {_named(record, 'teacher')}"


def key_figures(advice: Advice) -> Iterator[tuple[str, str, str]]:
    """Term, figure and what stands beside it, of the run to ship; nothing without one."""
    if advice.shipped is None:
        return
    record, change = advice.shipped.record, advice.shipped.change
    ours, theirs = record.metrics, record.baseline
    kind, speed = kind_of(ours.score), known_speedup(record, advice.shape)
    times = theirs.size_bytes / ours.size_bytes
    yield "size", f"{megabytes(ours.size_bytes)} MB", f"{times:.1f} times smaller than the teacher"
    yield (
        f"speed-up at {advice.shape[0]} × {advice.shape[1]}",
        f"{speed.ratio:.2f}" if speed.counts else "1",
        f"{speed.low:.2f} to {speed.high:.2f}"
        if speed.counts
        else f"{NO_DIFFERENCE}: {speed.low:.2f} to {speed.high:.2f}{_floor(speed.floor)}",
    )
    low, high = (value_words(kind, end, 3) for end in (ours.score.low, ours.score.high))
    teacher = value_words(kind, theirs.score.value, 3)
    yield (
        f"{kind.words} on {ours.score.samples:,} test rows",
        value_words(kind, ours.score.value, 3),
        f"{low} to {high}; the teacher {teacher}",
    )
    if advice.split == "validation":
        assert ours.validation is not None, "it was scored on the rows that chose"
        assert theirs.validation is not None
        yield (
            f"on {ours.validation.samples:,} validation rows, which choose",
            value_words(kind, ours.validation.value, 3),
            f"{lost_words(kind, change)}; the teacher "
            f"{value_words(kind, theirs.validation.value, 3)}",
        )


def links(pick: Pick, out: Path) -> Iterator[tuple[str, str]]:
    """Words and relative address of a run's files, as far as they are there."""
    names = [FILE, LOG]
    if pick.record.model is not None:
        names.append(pick.record.model)
    for name in names:
        path = pick.folder / name
        if path.exists():
            relative = os.path.relpath(path, out)
            # Quoted: a name may look like the scheme of an address.
            yield PurePath(name).name, "./" + quote(relative)


def _floor(floor: float | None) -> str:
    return "" if floor is None else f", noise floor {floor:.3f}"


def _named(record: FinishedRun, group: str) -> str:
    """The choice of a group, with the name of the file or model where it takes any."""
    choice, settings = record.choices[group], record.settings(group)
    found = (settings.get(name) for name in NAMED)
    name = next((each for each in found if isinstance(each, str) and each), None)
    return visible(choice if name is None else f"{choice} {PurePath(name).name}")
