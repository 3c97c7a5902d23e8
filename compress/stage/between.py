"""Measures the intermediate models after each stage.

They are exported without a numeric format by the run's own runtime, so that what the format did is
seen by itself. The folders are deleted once they are measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from compress.interfaces import CompressedModel, StageContext, TaskData
from compress.measure.run import LoadedModel, MeasureContext, measure
from compress.quantizer.none import NoQuantizer
from compress.records.schema import StageMetrics
from compress.stage.stages import distilled, pruned, read_back, write
from compress.store.cache import StageStore
from compress.system.files import temporary_folder

if TYPE_CHECKING:
    from compress.stage.run import Run


def measure_between(
    run: Run,
    ctx: StageContext,
    data: TaskData,
    store: StageStore,
    baseline: LoadedModel,
    how: MeasureContext,
) -> Iterator[StageMetrics]:
    """Measures every intermediate model between the teacher and the final one."""
    for stage, model in _between(run, ctx, store):
        with temporary_folder(how.shared / "stages") as temporary:
            folder = temporary / "model"
            exported = write(model, NoQuantizer(), ctx, folder)
            loaded = read_back(exported, model, ctx, folder)
            found = measure(loaded, baseline, data, replace(how, run=f"{how.run}, {stage}"))
        yield StageMetrics(stage, found.metrics, found.speedup, found.comparison)


def _between(
    run: Run, ctx: StageContext, store: StageStore
) -> Iterator[tuple[str, CompressedModel]]:
    """The models after each stage, with the stage's name; the last one is the final model."""
    student = distilled(run, ctx, store)
    made = [("student", student)]
    made += [(name, pruned(part, student, ctx, store)) for name, part in run.pruner.parts()]
    last = made[-1][1] if isinstance(run.quantizer, NoQuantizer) else None
    seen = {ctx.teacher.digest, *([last.digest] if last else [])}
    for name, model in made:
        if model.digest not in seen:
            seen.add(model.digest)
            yield name, model
