"""The controls of runs as rows beside theirs: never runs, on no front, never chosen. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from compress.analysis.decision import Candidate, Decision, Standing, is_tied, standing
from compress.analysis.noninferiority import Change
from compress.records.schema import Control, FinishedRun, ModelMetrics, Split
from compress.report.contest import Contest, change_on
from compress.report.points import Shape, compared_ms, speedup_at, teacher_ms


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
        return math.nan if speed is None else compared_ms(speed, records)


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


def cheapest_admitted(contest: Contest) -> ControlRow | None:
    """The control that is admitted and costs the least, if that is no more than what is shipped.

    One that was not timed is taken to be as fast as the teacher.
    """
    decision = contest.decision
    found = [
        (each.candidate.cost, row)
        for row, each in _gaining(contest)
        if each.place == "admitted"
        and (decision.ship is None or _costs_no_more(each.candidate, decision))
    ]
    return min(found, key=lambda each: each[0])[1] if found else None


def nearest_undecided(contest: Contest) -> tuple[ControlRow, Standing] | None:
    """The control that lost the least of those that are neither admitted nor excluded."""
    found = [(row, each) for row, each in _gaining(contest) if each.place == "undecided"]
    return max(found, key=lambda pair: pair[1].evidence.change) if found else None


def _gaining(contest: Contest) -> Iterator[tuple[ControlRow, Standing]]:
    """The controls that are smaller or faster than the teacher, by the rule."""
    records = [record for recipe in contest.recipes.values() for _, record in recipe.runs]
    for control, record in controls_of(records):
        if control.metrics is not None and _is_compared(control, contest.split):
            row = ControlRow(
                f"control: {control.name}", _in_place_of(record, control, control.metrics)
            )
            change = change_on(record, contest.split, control)
            one = _candidate(row, change, contest.shape, records)
            if one.gains:
                yield row, standing(one, contest.decision.rule)


def _costs_no_more(one: Candidate, decision: Decision) -> bool:
    ship = decision.ship
    assert ship is not None, "it is asked where one is shipped"
    return one.cost <= ship.cost or is_tied(one, ship, decision.floor)


def _is_compared(control: Control, split: Split) -> bool:
    return split == "evaluation" or control.validation_comparison is not None


def _candidate(
    row: ControlRow, change: Change, shape: Shape, records: Sequence[FinishedRun]
) -> Candidate:
    """A control before the rule; one that was not timed is as fast as the teacher."""
    speed = speedup_at(row.record, shape)
    faster = 1.0 if speed is None else speed.counted
    ours, theirs = row.record.metrics, row.record.baseline
    return Candidate(
        name=row.title,
        changes=(change,),
        quality=ours.score.quality,
        size_bytes=ours.size_bytes,
        latency_ms=teacher_ms(records, shape) / faster,
        smaller=theirs.size_bytes / ours.size_bytes,
        faster=faster,
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
