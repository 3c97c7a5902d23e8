"""Which runs compare: those of one task's rows on one machine, in one section of the report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from compress.records.schema import ModelMetrics, RunRecord
from compress.records.scores import SCORES, ScoreKind
from compress.records.words import environment_of, measured


@dataclass(frozen=True)
class Section:
    """Runs whose figures compare, all of them with figures; never empty.

    Attributes:
        task: its name, such as rotten_tomatoes.
        machine: the processor.
        device: what ran, with its threads: "cpu, 2 threads".
        runs: folder and record of each, in the order in which they were found.
    """

    task: str
    machine: str
    device: str
    runs: tuple[tuple[Path, RunRecord], ...]

    @property
    def baseline(self) -> ModelMetrics:
        """The first run's baseline: every run times its own anew, the rest is the same."""
        return measured(self.runs[0][1])[1]

    @property
    def metric(self) -> str:
        """What all of them are judged by first, a name in `compress.records.scores`."""
        return self.baseline.score.metric

    @property
    def kind(self) -> ScoreKind:
        """What that is."""
        return SCORES[self.metric]


def sections(runs: Iterable[tuple[Path, RunRecord]]) -> list[Section]:
    """The runs by task, rows, score, teacher, machine and threads.

    Args:
        runs: folder and record of each, all with figures.
    """
    groups = groupby(sorted(runs, key=_place), key=_place)
    return [
        Section(task, machine, device, tuple(group))
        for (task, *_, machine, device), group in groups
    ]


def _place(run: tuple[Path, RunRecord]) -> tuple[str, ...]:
    record = run[1]
    found = environment_of(record)
    assert record.data is not None, "only records whose status is ok bear data"
    baseline = str(measured(record)[1].size_bytes)
    teacher = record.choices["teacher"]
    return (
        record.choices["task"],
        record.data.digest,
        measured(record)[0].score.metric,
        teacher,
        baseline,
        found.machine,
        found.device,
    )
