"""Which runs compare: those of one task's rows on one machine, in one section of the report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from compress.records.schema import FinishedRun, ModelMetrics
from compress.records.scores import SCORES, ScoreKind


@dataclass(frozen=True)
class Section:
    """Runs whose figures compare, all of them with figures; never empty.

    Attributes:
        machine: the processor.
        device: what ran, with its threads: "cpu, 2 threads".
        runs: folder and record of each, in the order in which they were found.
    """

    task: str
    machine: str
    device: str
    runs: tuple[tuple[Path, FinishedRun], ...]

    @property
    def baseline(self) -> ModelMetrics:
        """The first run's baseline: every run times its own anew, the rest is the same."""
        return self.runs[0][1].baseline

    @property
    def metric(self) -> str:
        """Primary metric of all runs, a name in `compress.records.scores`."""
        return self.baseline.score.metric

    @property
    def kind(self) -> ScoreKind:
        """Kind of the primary metric."""
        return SCORES[self.metric]


def sections(runs: Iterable[tuple[Path, FinishedRun]]) -> list[Section]:
    """The runs by task, rows, score, teacher, machine and threads."""
    groups = groupby(sorted(runs, key=_place), key=_place)
    return [
        Section(task, machine, device, tuple(group))
        for (task, *_, machine, device), group in groups
    ]


def _place(run: tuple[Path, FinishedRun]) -> tuple[str, ...]:
    record = run[1]
    return (
        record.choices["task"],
        record.data.digest,
        record.metrics.score.metric,
        record.choices["teacher"],
        str(record.baseline.size_bytes),
        record.environment.machine,
        record.environment.device,
    )
