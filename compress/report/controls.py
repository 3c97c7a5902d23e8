"""The controls of runs as rows beside theirs: never runs, on no front, never chosen. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from compress.records.schema import Control, FinishedRun, ModelMetrics
from compress.records.score_words import kind_of, score_words
from compress.records.words import fast_words, megabytes
from compress.report.points import Shape, speedup_at, teacher_ms


@dataclass(frozen=True)
class ControlRow:
    """A control that was measured.

    Attributes:
        title: what it is called: "control: teacher in int8".
        record: of a run beside it, with the control's figures in place of the run's own; without
            speed-ups if it was not timed.
    """

    title: str
    record: FinishedRun

    def latency(self, records: Iterable[FinishedRun], shape: Shape) -> float:
        """Milliseconds as those of the runs, see `points`; NaN if it was not timed there."""
        speed = speedup_at(self.record, shape)
        return math.nan if speed is None else teacher_ms(records, shape) / speed.counted


def controls_of(records: Iterable[FinishedRun]) -> list[tuple[Control, FinishedRun]]:
    """Every control once, with a run beside it; sweeps share none, so theirs are apart."""
    found: dict[tuple[object, ...], tuple[Control, FinishedRun]] = {}
    for record in records:
        for control in record.controls:
            ours = control.metrics
            figures = None if ours is None else (ours.score.value, ours.size_bytes)
            choices = (record.choices["task"], record.choices["teacher"])
            key = (*choices, control.name, figures, control.absent)
            found.setdefault(key, (control, record))
    return list(found.values())


def control_rows(records: Iterable[FinishedRun]) -> list[ControlRow]:
    """The controls with figures, as rows of a table of these runs."""
    return [
        ControlRow(f"control: {control.name}", _in_place_of(record, control, control.metrics))
        for control, record in controls_of(records)
        if control.metrics is not None
    ]


def control_facts(records: Iterable[FinishedRun]) -> Iterator[str]:
    """How each control was made, or why there is none."""
    for control, _ in controls_of(records):
        if control.metrics is None:
            yield f"No {control.name}: {control.absent}."
        else:
            timed = "" if control.speedup else "; not timed"
            yield f"{control.name}: {control.recipe}{timed}."


def better_words(
    records: Sequence[FinishedRun], shape: Shape, chosen: FinishedRun | None
) -> Iterator[str]:
    """A sentence on each control that is at least as good as what is recommended, in every figure.

    Args:
        records: the runs of the section.
        shape: at which speed-ups count.
        chosen: the run to ship; null if the teacher is to be kept.
    """
    for row in control_rows(records):
        speed, mine = speedup_at(row.record, shape), row.record.metrics
        theirs = row.record.baseline if chosen is None else chosen.metrics
        other = None if chosen is None else speedup_at(chosen, shape)
        slower = speed is not None and speed.counted < (1.0 if other is None else other.counted)
        worse = mine.score.quality < theirs.score.quality
        if worse or slower or mine.size_bytes > theirs.size_bytes:
            continue
        kind = kind_of(mine.score)
        which = " and size" if speed is None else ", size and speed"
        time = "not timed" if speed is None else fast_words(speed)
        yield (
            f"But {row.title.replace(': ', ' ')} is at least as good in {kind.words}{which}: "
            f"{score_words(mine.score, 3)}, {megabytes(mine.size_bytes)} MB, {time}."
        )


def _in_place_of(record: FinishedRun, control: Control, metrics: ModelMetrics) -> FinishedRun:
    assert control.comparison is not None, "a control with figures has one"
    return replace(
        record,
        metrics=metrics,
        speedup=control.speedup,
        comparison=control.comparison,
        validation_comparison=control.validation_comparison,
    )
