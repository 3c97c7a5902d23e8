"""The finalists of a staged search: costs of all shapes, a super-net, and its sub-nets' scores.

The table of costs predicts speed and size of every point on this machine; the super-net is trained
once, and its sub-nets are scored on the validation rows as they are. Only finalists are trained on
and measured.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from compress.config.errors import UserError
from compress.core.monitor import UNWATCHED
from compress.costs.measuring import make_table
from compress.costs.space import WHERE, Costs
from compress.costs.table import Table
from compress.costs.targets import Targets
from compress.frontier.assignments import Assignment, Report, group_points, space_of
from compress.frontier.choose import Candidate, choose
from compress.frontier.found import FILE, Found, read_found, write_found
from compress.frontier.pace import ALONE, SUPERNET, Pace, finalists_in_time, supernet_epochs
from compress.frontier.settings import Frontier
from compress.search.plan import Plan
from compress.shaping.subshape import SubShape
from compress.stage.run import Run
from compress.stage.stages import begin
from compress.system.processes import release_memory

if TYPE_CHECKING:
    from compress.interfaces import StageContext, TrainingData

Scores = Mapping[tuple[str, SubShape], float]  # by assignment and sub-net


def find_finalists(
    plan: Plan,
    frontier: Frontier,
    compose: Callable[[Sequence[str]], DictConfig],
    folder: Path,
    report: Report,
    pace: Pace,
) -> Found:
    """The finalists, and how long they are trained: those of the search's folder, or found now.

    Args:
        plan: the space, and the overrides of all points.
        frontier: how many, and what they must reach.
        compose: composes the config of some overrides.
        folder: of the search; receives the file.
        report: gets a line on each step.
        pace: time of the search.

    Raises:
        UserError: no point is possible, the time is too short, or the file is damaged.
    """
    # Sizes that were proposed for the teacher are in no config; how trials are run is no matter.
    sizes = [word for word in plan.fixed if word.startswith("student.")]
    asked = [dict(plan.definition), sizes, frontier.describe()]
    key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    path = folder / FILE
    found = read_found(path, key, pace.hours)
    if found.finalists:
        report(f"{len(found.finalists)} finalists were found before: {path}")
        return found
    assignments = group_points(plan, compose, report)
    targets = _targets(frontier, assignments[0].run.device.benchmark.shapes)
    minutes = pace.costs_minutes() if frontier.minutes is None else frontier.minutes
    pace.check_measuring(assignments[0].run.device.benchmark)
    report(f"costs of models on this machine, for {minutes:.1f} minutes or a little more")
    table = _table(assignments, minutes, frontier, report)
    left = [each for each in assignments if each.name in table.pairs]
    if not left:
        raise UserError(f"no point is possible: {'; '.join(dict.fromkeys(table.refused.values()))}")
    training = left[0].run.task.load().training  # of all: no dimension is the task's
    found = _with_supernet_epochs(found, left, training, pace, report)
    write_found(path, found)
    left = [_trained_for(each, found) for each in left]
    scores = _scores(left, training, report)
    every = [_candidate(each, sub, table, scores, targets) for each in left for sub in each.points]
    found = _with_finalists(found, every, frontier.finalists, left, training, pace, report)
    found = replace(found, spent=pace.spent())
    write_found(path, found)
    release_memory()  # the trials run in processes of their own
    return found


def _targets(frontier: Frontier, shapes: Sequence[tuple[int, int]]) -> Targets | None:
    """What finalists must reach; None for nothing."""
    faster = frontier.speedups(shapes)
    return Targets(faster, frontier.smaller) if faster or frontier.smaller is not None else None


def _table(
    assignments: Sequence[Assignment], minutes: float, frontier: Frontier, report: Report
) -> Table:
    """What every point costs here; says what is left out, and how far predictions are off.

    Raises:
        UserError: a size is impossible, or predictions are too far off to choose by.
    """
    space = space_of(assignments)
    costs = Costs(minutes=minutes, rounds=frontier.rounds, space=space)
    try:
        table = make_table({each.name: each.run for each in assignments}, costs, report)
    except UserError as error:
        # Here sizes are the student's, such as a vocabulary that is too small for the tokenizer.
        raise type(error)(str(error).replace(f"{WHERE}.", "student.shape.")) from error
    for name, reason in table.refused.items():
        report(f"left out: {name}: {reason}")
    report(error_words(table))
    if doubt := table.doubt(frontier.max_error):
        raise UserError(
            f"{doubt}. search.frontier.max_error={frontier.max_error:g} is where a search ends"
        )
    return table


def error_words(table: Table) -> str:
    """How far predictions of measured shapes are off, each predicted from all others."""
    pairs = list(table.pairs.values())
    if not pairs:
        return "no costs were measured"
    times = [fit.median_error for pair in pairs for fit in pair.times]
    sizes = [pair.bytes.median_error for pair in pairs]
    return (
        f"costs predicted with median errors of up to {max(times):.1%} in time and "
        f"{max(sizes):.1%} in bytes"
    )


def _with_supernet_epochs(
    found: Found,
    assignments: Sequence[Assignment],
    training: TrainingData,
    pace: Pace,
    report: Report,
) -> Found:
    """With how long the super-net is trained, if that follows from the time."""
    if not pace.sets(SUPERNET) or SUPERNET in found.epochs:
        return found
    first, nets = assignments[0], len({each.net for each in assignments})
    with _begun(first.run, training) as ctx:
        report(f"timing steps of the super-net, for about {pace.timing_seconds():.0f} s")
        epochs = supernet_epochs(first.student, nets, first.run.device.benchmark, pace, ctx)
    report(
        f"time for {epochs:g} epochs of the super-net; {pace.left_words()}: {SUPERNET}={epochs:g}"
    )
    return replace(found, epochs={**found.epochs, SUPERNET: epochs})


def _with_finalists(
    found: Found,
    candidates: Sequence[Candidate],
    most: int,
    assignments: Sequence[Assignment],
    training: TrainingData,
    pace: Pace,
    report: Report,
) -> Found:
    """With the finalists, and how many and for how long if that follows from the time."""
    found = replace(found, finalists=choose(candidates, most))
    best = found.finalists[0].margin
    if best is not None and best < 1:
        report(f"no sub-net is predicted to meet the targets: the closest has {best:.0%} of one")
    if not pace.sets(ALONE) or not assignments[0].student.distillation.epochs:
        return found
    slowest = min(found.finalists, key=lambda each: each.speedup[-1])
    for each in assignments:
        for sub, point in each.points.items():
            if point == slowest.point:
                student, run = replace(each.student, sub=sub), each.run
    with _begun(run, training) as ctx:
        report(f"timing steps of a finalist, for about {pace.timing_seconds():.0f} s")
        chosen, benchmark = len(found.finalists), run.device.benchmark
        count, epochs = finalists_in_time(student, chosen, benchmark, pace, ctx)
    fewer = f" of {chosen}" if count < chosen else ""
    report(
        f"finalists: {count}{fewer}, each trained for {epochs:g} epochs; {pace.left_words()}: "
        f"{ALONE}={epochs:g}"
    )
    epochs_of = {**found.epochs, ALONE: epochs}
    return replace(found, epochs=epochs_of, finalists=choose(candidates, count))


def _trained_for(assignment: Assignment, found: Found) -> Assignment:
    """The assignment with the super-net's epochs."""
    student = assignment.student
    epochs = found.epochs.get(SUPERNET, student.supernet.epochs)
    return assignment.with_student(
        replace(student, supernet=replace(student.supernet, epochs=epochs))
    )


def _scores(assignments: Sequence[Assignment], training: TrainingData, report: Report) -> Scores:
    """The quality of every sub-net, by assignment; each super-net is trained or read once."""
    known: dict[str, dict[SubShape, float]] = {}
    found: dict[tuple[str, SubShape], float] = {}
    for each in assignments:
        scores = known.setdefault(each.net, {})
        if wanted := [sub for sub in each.points if sub not in scores]:
            report(f"scoring {len(wanted)} sub-nets of a super-net, trained first if it is new")
            with _begun(each.run, training) as ctx:
                for sub, score in each.student.evaluate_subnets(ctx, wanted):
                    scores[sub] = score.quality
        found |= {(each.name, sub): scores[sub] for sub in each.points}
    return found


@contextmanager
def _begun(run: Run, training: TrainingData) -> Iterator[StageContext]:
    """The context of a run's stages, with its teacher."""
    with run.device.session(), run.cache.open(Path(run.cache.dir), run.device, run.seed) as store:
        yield begin(run, training, store, UNWATCHED)


def _candidate(
    assignment: Assignment, sub: SubShape, table: Table, scores: Scores, targets: Targets | None
) -> Candidate:
    pair, sizes = table.pairs[assignment.name], assignment.sizes(sub)
    predicted = pair.predict(table.facts(sizes))
    return Candidate(
        point=assignment.points[sub],
        net=json.dumps([asdict(sizes), assignment.net]),
        quality=scores[assignment.name, sub],
        speedup=predicted.speedup,
        smaller=predicted.smaller,
        size_bytes=predicted.size_bytes,
        margin=None if targets is None else targets.margin(pair, predicted),
        layers=sizes.layers,
        at_best=None if targets is None else targets.margin_at_best(pair, predicted),
    )
