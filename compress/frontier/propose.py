"""The finalists of a staged search: costs of all shapes, a super-net, and its sub-nets' scores.

The table of costs predicts speed and size of every point on this machine; the super-net is trained
once, and its sub-nets are scored on the validation rows as they are. Only finalists are trained on
and measured. They are kept in the search's folder, so that a search that was killed goes on with
the same ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as settings

from compress.build import build_run
from compress.config.ending import one_line
from compress.config.errors import ConfigError, UserError, first_line
from compress.config.fields import NotNegative, Positive, PositiveInt
from compress.config.settings import Settings
from compress.core.monitor import UNWATCHED
from compress.costs.measuring import make_table
from compress.costs.space import Costs, Sizes, Space
from compress.costs.table import Table
from compress.costs.targets import Targets
from compress.frontier.choose import Candidate, choose
from compress.search.plan import Plan
from compress.search.space import Point, overrides_of
from compress.shaping.subshape import AXES, SubShape
from compress.stage.run import Run
from compress.stage.stages import begin
from compress.student.supernet import SupernetStudent
from compress.system.files import write_atomically
from compress.system.processes import release_memory

SUB = "student.sub."
FILE = "finalists.json"
GROUPS = ("student", "device", "quantizer")  # whose settings may be dimensions
Report = Callable[[str], None]


@settings(frozen=True, kw_only=True)
class Frontier(Settings):
    """How finalists are found.

    Attributes:
        finalists: number of points that are trained on and measured.
        faster: least speed-up over the float32 teacher by shape of the benchmark, such as
            {1x32: 25}; null for any.
        smaller: the teacher's bytes over the model's, at least; null for any.
        minutes: to measure shapes for the table of costs, beyond those that were measured before.
        rounds: of timing in turns with the teacher for each of these shapes.
    """

    finalists: PositiveInt
    faster: dict[str, Positive] | None
    smaller: Positive | None
    minutes: NotNegative
    rounds: PositiveInt


@dataclass(frozen=True)
class Assignment:
    """What the points of one super-net, runtime and format have in common.

    Attributes:
        name: its settings, as overrides.
        run: with one of the sub-nets.
        points: by sub-net.
    """

    name: str
    run: Run
    points: Mapping[SubShape, Point]

    @property
    def student(self) -> SupernetStudent:
        """The student, with one of the sub-nets."""
        student = self.run.student
        assert isinstance(student, SupernetStudent), "checked in `_assignments`"
        return student


def find_finalists(
    plan: Plan,
    frontier: Frontier,
    compose: Callable[[Sequence[str]], DictConfig],
    folder: Path,
    report: Report,
) -> list[Candidate]:
    """The finalists, the most promising first: those of the search's folder, or found now.

    Args:
        plan: the space, and the overrides of all points.
        frontier: how many, and what they must reach.
        compose: composes the config of some overrides.
        folder: of the search; receives the file.
        report: gets a line on each step.

    Raises:
        UserError: no point is possible, or the file is damaged.
    """
    asked = [dict(plan.definition), plan.fixed, frontier.describe()]
    key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    path = folder / FILE
    if (kept := _kept(path, key)) is not None:
        report(f"{len(kept)} finalists were found before: {path}")
        return kept
    assignments = _assignments(plan, compose, report)
    first = next(iter(assignments))
    shapes = first.run.device.benchmark.shapes
    targets = _targets(frontier, shapes)
    costs = Costs(minutes=frontier.minutes, rounds=frontier.rounds, space=_space(assignments))
    table = make_table({each.name: each.run for each in assignments}, costs, report)
    for name, reason in table.refused.items():
        report(f"left out: {name}: {reason}")
    report(error_words(table))
    left = [each for each in assignments if each.name in table.pairs]
    if not left:
        raise UserError(f"no point is possible: {'; '.join(dict.fromkeys(table.refused.values()))}")
    scores = _scores(left, report)
    release_memory()  # the trials run in processes of their own
    found = [_candidate(each, sub, table, scores, targets) for each in left for sub in each.points]
    finalists = choose(found, frontier.finalists)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps({"key": key, "finalists": [asdict(f) for f in finalists]}))
    return finalists


def _targets(frontier: Frontier, shapes: Sequence[tuple[int, int]]) -> Targets | None:
    """What finalists must reach; None for nothing.

    Raises:
        ConfigError: a speed-up is of a shape that is not timed.
    """
    timed = {f"{batch}x{length}": (batch, length) for batch, length in shapes}
    faster = frontier.faster or {}
    for name in faster:
        if name not in timed:
            raise ConfigError(
                f"search.frontier.faster must be of a shape that is timed, {', '.join(timed)}; "
                f"got {name}"
            )
    if not faster and frontier.smaller is None:
        return None
    return Targets({timed[name]: least for name, least in faster.items()}, frontier.smaller)


def error_words(table: Table) -> str:
    """How far predictions of measured shapes are off, each predicted from all others."""
    pairs = list(table.pairs.values())
    if not pairs:
        return "no costs were measured"
    times = [fit.median_error for pair in pairs for fit in pair.times]
    sizes = [pair.bytes.median_error for pair in pairs]
    return (
        f"costs predicted with median errors of up to {max(times):.0%} in time and "
        f"{max(sizes):.1%} in bytes"
    )


def _kept(path: Path, key: str) -> list[Candidate] | None:
    """The finalists in the search's folder, if they are of the same search."""
    if not path.is_file():
        return None
    try:
        raw = json.loads(path.read_bytes())
        if raw["key"] != key:
            return None
        return TypeAdapter(list[Candidate]).validate_python(raw["finalists"])
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise UserError(f"{path} is damaged: {first_line(error)}; delete it") from error


def _assignments(
    plan: Plan, compose: Callable[[Sequence[str]], DictConfig], report: Report
) -> list[Assignment]:
    """The points by all that is not the sub-net; impossible ones are reported and left out."""
    every = plan.space.points()
    if every is None:
        raise ConfigError("a search for the frontier needs a finite search.space: choice or range")
    _check_dimensions(plan)
    grouped: dict[str, list[Point]] = {}
    for point in every:
        rest = {key: value for key, value in point.items() if not key.startswith(SUB)}
        name = " ".join(overrides_of(rest)) or "the run's own settings"
        grouped.setdefault(name, []).append(point)
    made, reasons = [], {}
    for name, points in grouped.items():
        try:
            run = build_run(compose([*plan.fixed, *overrides_of(points[0])]))
        except UserError as error:
            reasons[name] = one_line(error)
            report(f"left out: {name}: {reasons[name]}")
            continue
        if not isinstance(run.student, SupernetStudent):
            raise ConfigError(
                f"a search for the frontier needs student=supernet, got {run.student.kind}"
            )
        made.append(Assignment(name, run, {_sub_of(point): point for point in points}))
    if not made:
        raise UserError(f"no point is possible: {'; '.join(dict.fromkeys(reasons.values()))}")
    return made


def _check_dimensions(plan: Plan) -> None:
    """Raises a ConfigError for a dimension that neither costs nor super-nets account for."""
    for dimension in plan.space.dimensions:
        if dimension.key.partition(".")[0] not in GROUPS:
            raise ConfigError(
                f"search.space of a search for the frontier takes settings of {', '.join(GROUPS)}; "
                f"got {dimension.key}"
            )


def _sub_of(point: Point) -> SubShape:
    """The sub-net of a point."""
    sizes: dict[str, Any] = dict.fromkeys(AXES)
    for name, value in point.items():
        if name.startswith(SUB):
            sizes[name.removeprefix(SUB)] = None if value == "null" else int(value)
    return SubShape(**sizes)


def _sizes(student: SupernetStudent, sub: SubShape) -> Sizes:
    """The sizes of a sub-net as the table of costs has them."""
    shape, layers = student.shape, student.layers
    return Sizes(
        layers=sub.depth or (layers if isinstance(layers, int) else len(layers)),
        hidden=sub.hidden or shape.hidden,
        heads=sub.heads or shape.heads,
        neurons=sub.neurons or shape.neurons,
        embedding=shape.embedding,
        activation=shape.activation,
        vocabulary=shape.vocabulary,
        positions=shape.positions,
    )


def _space(assignments: Sequence[Assignment]) -> Space:
    """The smallest space of the table that holds every sub-net."""
    found = [_sizes(each.student, sub) for each in assignments for sub in each.points]
    axes: dict[str, Any] = {}
    for name in asdict(found[0]):
        axes[name] = tuple(dict.fromkeys(getattr(sizes, name) for sizes in found))
    return Space(**axes)


def _scores(assignments: Sequence[Assignment], report: Report) -> dict[tuple[str, SubShape], float]:
    """The quality of every sub-net, by assignment; each super-net is trained or read once."""
    known: dict[str, dict[SubShape, float]] = {}
    found: dict[tuple[str, SubShape], float] = {}
    for each in assignments:
        student = each.student
        own = json.dumps(student.net_settings().describe())
        wanted = [sub for sub in each.points if sub not in known.setdefault(own, {})]
        if wanted:
            report(f"scoring {len(wanted)} sub-nets of a super-net, trained first if it is new")
            known[own] |= _evaluated(each.run, student, wanted)
        found |= {(each.name, sub): known[own][sub] for sub in each.points}
    return found


def _evaluated(
    run: Run, student: SupernetStudent, subs: Sequence[SubShape]
) -> dict[SubShape, float]:
    with run.device.session(), run.cache.open(Path(run.cache.dir), run.device, run.seed) as store:
        data = run.task.load()
        ctx = begin(run, data.training, store, UNWATCHED)
        return {sub: score.quality for sub, score in student.evaluate_subnets(ctx, subs)}


def _candidate(
    assignment: Assignment,
    sub: SubShape,
    table: Table,
    scores: Mapping[tuple[str, SubShape], float],
    targets: Targets | None,
) -> Candidate:
    pair, student = table.pairs[assignment.name], assignment.student
    sizes = _sizes(student, sub)
    predicted = pair.predict(table.family.facts(sizes))
    return Candidate(
        point=assignment.points[sub],
        net=json.dumps(asdict(sizes)),
        quality=scores[assignment.name, sub],
        speedup=predicted.speedup,
        smaller=predicted.smaller,
        size_bytes=predicted.size_bytes,
        margin=None if targets is None else targets.margin(pair, predicted),
    )
