"""The points of a staged search by what is built once for them: super-net, runtime and format."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from omegaconf import DictConfig

from compress.build import build_run
from compress.config.ending import one_line
from compress.config.errors import ConfigError, UserError
from compress.costs.space import Sizes, Space
from compress.pruner.none import NoPruner
from compress.search.plan import Plan
from compress.search.space import Point, overrides_of
from compress.shaping.subshape import SubShape
from compress.stage.run import Run
from compress.student.supernet import SupernetStudent

SUB = "student.sub."
GROUPS = ("student", "device", "quantizer")  # whose settings may be dimensions
TRAINED = ("student.distillation", "student.matching")  # but these, which no score would show
Report = Callable[[str], None]


@dataclass(frozen=True)
class Assignment:
    """What the points of one super-net, runtime and format have in common.

    Attributes:
        name: its settings, as overrides.
        run: with one of the sub-nets.
        points: by sub-net, those that are possible.
    """

    name: str
    run: Run
    points: Mapping[SubShape, Point]

    @property
    def student(self) -> SupernetStudent:
        """The student, with one of the sub-nets."""
        student = self.run.student
        assert isinstance(student, SupernetStudent), "checked in `group_points`"
        return student

    @property
    def net(self) -> str:
        """Identifies the super-net."""
        return json.dumps(self.student.net_settings().describe())

    def with_student(self, student: SupernetStudent) -> Assignment:
        """The same points of another training."""
        return replace(self, run=replace(self.run, student=student))

    def sizes(self, sub: SubShape) -> Sizes:
        """The sizes of a sub-net as the table of costs has them."""
        shape, layers = self.student.shape, self.student.layers
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


def group_points(
    plan: Plan, compose: Callable[[Sequence[str]], DictConfig], report: Report
) -> list[Assignment]:
    """The points by all that is not the sub-net; impossible ones are reported and left out.

    Raises:
        UserError: the space is not finite, has a dimension that neither costs nor super-nets
            account for, or no point is possible.
    """
    made: list[Assignment] = []
    reasons: list[str] = []
    for name, points in _points_by_name(plan).items():
        runs: dict[SubShape, tuple[Run, Point]] = {}
        refused: dict[str, str] = {}
        for point in points:
            try:
                run = build_run(compose([*plan.fixed, *overrides_of(point)]))
            except UserError as error:
                refused[" ".join(overrides_of(point))] = one_line(error)
            else:
                runs[_checked(run).sub] = run, point
        if runs:
            found = {sub: point for sub, (_, point) in runs.items()}
            made.append(Assignment(name, next(iter(runs.values()))[0], found))
        else:  # once for all of them
            refused = dict.fromkeys([name], next(iter(refused.values())))
        for words, reason in refused.items():
            report(f"left out: {words}: {reason}")
        reasons += refused.values()
    if not made:
        raise UserError(f"no point is possible: {'; '.join(dict.fromkeys(reasons))}")
    return made


def _points_by_name(plan: Plan) -> dict[str, list[Point]]:
    """All points by the settings that have nothing to do with the sub-net, as overrides."""
    every = plan.space.points()
    if every is None:
        raise ConfigError("a search for the frontier needs a finite search.space: choice or range")
    _check_dimensions(plan)
    grouped: dict[str, list[Point]] = {}
    for point in every:
        rest = {key: value for key, value in point.items() if not key.startswith(SUB)}
        name = " ".join(overrides_of(rest)) or "the run's own settings"
        grouped.setdefault(name, []).append(point)
    return grouped


def _checked(run: Run) -> SupernetStudent:
    """The student of a run; a ConfigError if costs and scores would not be those of the run."""
    if not isinstance(run.student, SupernetStudent):
        raise ConfigError(
            f"a search for the frontier needs student=supernet, got {run.student.kind}"
        )
    if not isinstance(run.pruner, NoPruner):
        raise ConfigError(
            "a search for the frontier needs pruner=none, as it predicts and scores sub-nets that "
            f"are not pruned; got {run.pruner.kind}"
        )
    if len(run.task.each_fold()) > 1:
        raise ConfigError(
            "a search for the frontier has one super-net, which no fold's test rows may train: "
            "select a fold, such as task.split.fold=1"
        )
    return run.student


def space_of(assignments: Sequence[Assignment]) -> Space:
    """The smallest space of the table of costs that holds every sub-net."""
    found = [each.sizes(sub) for each in assignments for sub in each.points]
    axes: dict[str, Any] = {}
    for name in asdict(found[0]):
        axes[name] = tuple(dict.fromkeys(getattr(sizes, name) for sizes in found))
    return Space(**axes)


def _check_dimensions(plan: Plan) -> None:
    """Raises a ConfigError for a dimension that neither costs nor super-nets account for."""
    for dimension in plan.space.dimensions:
        if dimension.key.partition(".")[0] not in GROUPS or dimension.key.startswith(TRAINED):
            raise ConfigError(
                f"search.space of a search for the frontier takes settings of {', '.join(GROUPS)} "
                f"but {' and '.join(TRAINED)}; got {dimension.key}"
            )
