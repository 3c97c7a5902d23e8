"""An experiment's runs beside the published figures: which there are, and what differs. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from compress.analysis.goals import Constraint, baseline_of
from compress.config.errors import ConfigError, UserError
from compress.experiment.definition import (
    Experiment,
    Point,
    Row,
    figure,
    group_of,
    key_of,
    parse_experiment,
    points,
)
from compress.records.collect import Collection
from compress.records.metrics import settled
from compress.records.schema import FILE, FinishedRun, RunRecord
from compress.report.tables import grouped

MISSING = "not run"
OPTIONS = "experiment.options"
# What may be set without the set-up being another one.
FREE = ("experiment", "seed", "cache", "tracker", "measure_stages", "objectives", "decision")

Run = tuple[Path, RunRecord]


@dataclass(frozen=True)
class Goal:
    """A bound, and what there is to hold against it; NaN for what was not measured."""

    bound: Constraint
    value: float
    baseline: float

    @property
    def met(self) -> bool | None:
        """None if that is not known."""
        if math.isnan(self.value) or math.isnan(self.baseline):
            return None
        return self.bound.excess(self.value, self.baseline) <= 0


@dataclass(frozen=True)
class Line:
    """One run that there is, or that there should be.

    Attributes:
        name: of the row, and the point where there are several.
        run: None if there is no record of it.
    """

    name: str
    row: Row
    point: Point
    run: Run | None

    @property
    def status(self) -> str:
        """What became of it: ok, failed, infeasible, or that it was not run."""
        return MISSING if self.run is None else self.run[1].status

    @property
    def record(self) -> FinishedRun | None:
        """Record, if it has figures."""
        if self.run is None or not isinstance(self.run[1], FinishedRun):
            return None
        return self.run[1]

    @property
    def task(self) -> str | None:
        """The task, as far as it is known of a run that there is not."""
        if self.run is not None:
            return self.run[1].choices.get("task")
        words = dict(each.partition("=")[::2] for each in self.point)
        return words.get("task")

    def published(self, name: str) -> float | None:
        """What was published of a figure."""
        return self.row.published_on(name, self.task)

    def goals(self) -> Iterator[Goal]:
        """What has become of each goal of the row."""
        for bound in self.row.goals:
            if self.record is None:
                yield Goal(bound, math.nan, math.nan)
            else:
                # A goal is not reached by a speed-up that does not count.
                records = settled(self.record), baseline_of(self.record)
                yield Goal(bound, *(figure(record, bound.metric) for record in records))

    def changed(self, groups: Iterable[str]) -> Iterator[str]:
        """What the run has in some groups that its row does not have, or the other way round."""
        if self.run is None:
            return
        record = self.run[1]
        given = [each for each in _given(record) if group_of(each) in groups]
        yield from (each for each in given if each not in self.row.overrides)
        yield from (f"no {each}" for each in self.row.overrides if each not in record.overrides)


@dataclass(frozen=True)
class ExperimentTable:
    """The runs of one experiment in one set-up.

    Attributes:
        changed: overrides of all its runs, by which the set-up is another than the yaml's.
        lines: every row at every point, in order, whether or not it was run; twice if run twice.
    """

    experiment: Experiment
    changed: tuple[str, ...]
    lines: tuple[Line, ...]

    @property
    def whole(self) -> bool:
        """Whether every row has figures."""
        return all(line.status == "ok" for line in self.lines)

    @property
    def runs(self) -> list[tuple[Path, FinishedRun]]:
        """The runs with figures."""
        return [(line.run[0], line.record) for line in self.lines if line.run and line.record]

    def row_changes(self) -> dict[str, list[str]]:
        """By what is changed in single rows, the lines that it is changed in."""
        groups = _groups(self.experiment)
        return grouped((words, line.name) for line in self.lines for words in line.changed(groups))

    def repeated(self) -> dict[str, list[Path]]:
        """By line, the folders of those that were run more than once."""
        found = grouped((line.name, line.run[0]) for line in self.lines if line.run is not None)
        return {name: folders for name, folders in found.items() if len(folders) > 1}


def without_unreadable(found: Collection) -> Collection:
    """The same, but the runs whose experiment cannot be read are among the records that cannot."""
    runs, broken = [], list(found.broken)
    for folder, record in found.runs:
        settings = record.config.get("experiment")
        try:
            if settings is not None:
                points(parse_experiment(settings).cross)
            runs.append((folder, record))
        except ConfigError as error:
            broken.append(f"{folder / FILE}: {error}")
    return replace(found, runs=tuple(runs), broken=tuple(broken))


def experiment_tables(found: Collection) -> list[ExperimentTable]:
    """A table for each experiment, and for each set-up in which it was run.

    Raises:
        UserError: none of the runs is of an experiment.
    """
    groups: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[Run]] = {}
    for folder, record in found.runs:
        if record.config.get("experiment") is not None:
            experiment = parse_experiment(record.config["experiment"])
            own = _groups(experiment)
            changed = tuple(each for each in _given(record) if group_of(each) not in own)
            # A yaml may have been changed: rows of two versions are no one table.
            key = experiment.name, tuple(experiment.rows), changed
            groups.setdefault(key, []).append((folder, record))
    if not groups:
        raise UserError("no run belongs to an experiment: python run.py -m +experiment=…")
    return [_table(runs, changed) for (_, _, changed), runs in groups.items()]


def _table(runs: Sequence[Run], changed: tuple[str, ...]) -> ExperimentTable:
    experiment = parse_experiment(runs[0][1].config["experiment"])
    at: dict[tuple[str, Point], list[Run]] = {}
    expected: dict[Point, None] = {}
    # Whether it was run or not, by name: an option that is swept changes the rows themselves.
    rows: dict[tuple[str, Point], Row] = {}
    for folder, record in runs:
        settings = record.config["experiment"]
        theirs = parse_experiment(settings)
        swept = set(map(key_of, theirs.cross))
        point = tuple(each for each in record.overrides if key_of(each) in swept)
        expected |= dict.fromkeys([*points(theirs.cross), point])
        rows |= {(name, point): row for name, row in theirs.rows.items()}
        at.setdefault((settings["row"], point), []).append((folder, record))
    lines = [
        Line(
            " ".join((name, *(point if len(expected) > 1 else ()))),
            rows.get((name, point), experiment.rows[name]),
            point,
            run,
        )
        for point in expected
        for name in experiment.rows
        for run in at.get((name, point), [None])
    ]
    return ExperimentTable(experiment, changed, tuple(lines))


def _given(record: RunRecord) -> list[str]:
    """The overrides of a run that make its set-up what it is, but for what was swept."""
    swept = {key_of(each) for each in parse_experiment(record.config["experiment"]).cross}
    return [
        each
        for each in record.overrides
        if key_of(each) not in swept
        and (key_of(each).startswith(OPTIONS) or group_of(each) not in FREE)
    ]


def _groups(experiment: Experiment) -> set[str]:
    """The groups in which rows differ."""
    return {group_of(each) for row in experiment.rows.values() for each in row.overrides}
