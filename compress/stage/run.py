"""The components of one run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from compress.analysis.decision import Rule
from compress.config.settings import within
from compress.interfaces import Device, Pruner, Quantizer, Student, Task, Teacher
from compress.store.cache import Cache
from compress.tracker.components.tracking import Tracker
from compress.training.distillation import Distillation

Controls: TypeAlias = Literal["sweep", "always", "never"]


@dataclass(frozen=True)
class Run:
    """All settings and components of one run, before anything is loaded.

    Attributes:
        measure_stages: whether the models between the stages are measured as well.
        controls: when `compress.stage.controls` are measured beside the model.
        decision: by which a report recommends one of several runs; the run itself does not use it.
    """

    teacher: Teacher
    student: Student
    pruner: Pruner
    quantizer: Quantizer
    task: Task
    device: Device
    cache: Cache
    tracker: Tracker
    seed: int
    objectives: tuple[str, ...]
    measure_stages: bool
    controls: Controls
    decision: Rule

    def distillations(self) -> Iterator[tuple[str, Distillation]]:
        """Every training on logits or labels, with its dotted key."""
        for group in ("student", "pruner", "quantizer"):
            yield from within(getattr(self, group), Distillation, group)

    def knobs(self) -> dict[str, tuple[str, ...]]:
        """By stage, the settings that a recipe always lists."""
        stages = {"student": self.student, "pruner": self.pruner, "quantizer": self.quantizer}
        return {name: stage.knobs for name, stage in stages.items() if stage.knobs}
