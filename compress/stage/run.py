"""The components of one run."""

from __future__ import annotations

from dataclasses import dataclass

from compress.interfaces import Device, Pruner, Quantizer, Student, Task, Teacher
from compress.store.cache import Cache
from compress.tracker.components.tracking import Tracker


@dataclass(frozen=True)
class Run:
    """All settings and components of one run, before anything is loaded.

    Attributes:
        measure_stages: whether the models between the stages are measured as well.
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

    def knobs(self) -> dict[str, tuple[str, ...]]:
        """By stage, the settings that a recipe always lists."""
        stages = {"student": self.student, "pruner": self.pruner, "quantizer": self.quantizer}
        return {name: stage.knobs for name, stage in stages.items() if stage.knobs}
