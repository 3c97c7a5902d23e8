"""One run, from a config to figures: distil, prune, quantise, save, reload, measure."""

from __future__ import annotations

import logging
import os
import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from compress.artifact import load, read_architecture, write_card
from compress.baseline import keep_baseline
from compress.blocks import block_linears
from compress.cache import Cache, StageStore
from compress.forecast import forecast
from compress.interfaces import (
    CompressedModel,
    Device,
    Pruner,
    Quantizer,
    StageContext,
    Student,
    Task,
    TaskData,
    Teacher,
)
from compress.measure.environment import environment
from compress.measure.run import Subject, check_reload, measure
from compress.measure.sparsity import check_claims
from compress.monitor import monitor
from compress.records import Data, RunRecord

log = logging.getLogger(__name__)

MODEL_FOLDER = "model"


@dataclass(frozen=True)
class Run:
    """Everything that one run depends on; nothing is loaded yet."""

    teacher: Teacher
    student: Student
    pruner: Pruner
    quantizer: Quantizer
    task: Task
    device: Device
    cache: Cache
    seed: int
    objectives: tuple[str, ...]


def execute(run: Run, folder: Path, shared: Path, record: RunRecord) -> RunRecord:
    """Compresses and measures one model; its folder becomes `<folder>/model`.

    Args:
        run: what to do.
        folder: the run's own folder, which exists.
        shared: the folder of the sweep that the run belongs to; its own if to none.
        record: what is known about the run before it starts.

    Returns:
        The record with all figures.
    """
    monitor().forecast(lambda: forecast(run))
    with run.device.session(), run.cache.open(folder, run.device, run.seed) as store:
        record = replace(record, environment=environment(run.device))
        data = run.task.load()
        pruned, ctx = compress(run, data, store)
        candidate = export(run, pruned, ctx, folder / MODEL_FOLDER)
        kept = keep_baseline(ctx.teacher, shared)
        baseline = read_subject(kept, run.device, ctx.teacher.digest)
        monitor().stage("score")
        began = time.perf_counter()
        measured = measure(candidate, baseline, data, run.device, run.seed, store, shared)
        record = replace(
            record,
            status="ok",
            model=MODEL_FOLDER,
            baseline_model=os.path.relpath(kept, folder),
            data=data_record(data),
            **vars(measured),
            stages=tuple(store.records),
            history=tuple(asdict(step) for step in pruned.history),
            measuring_seconds=time.perf_counter() - began,
        )
        write_card(record, folder / MODEL_FOLDER)
        return record


def compress(run: Run, data: TaskData, store: StageStore) -> tuple[CompressedModel, StageContext]:
    """The model that the stages make, ready for export, and what they made it of."""
    training, device, seed = data.training, run.device, run.seed
    rows = {"rows": training.digest}
    teacher = store.model(
        "teacher", run.teacher, rows, lambda: run.teacher.load(training, device, seed)
    )
    ctx = StageContext(teacher, training, device, seed, store)
    inputs = {**rows, "teacher": teacher.digest}
    student = store.model("student", run.student, inputs, lambda: run.student.distill(ctx))
    inputs = {**inputs, "student": student.digest}
    pruned = store.model("pruner", run.pruner, inputs, lambda: run.pruner.prune(student, ctx))
    check_claims(pruned.history, pruned.module.named_parameters())
    inputs = {**inputs, "pruner": pruned.digest}
    prepared = store.model(
        "quantizer", run.quantizer, inputs, lambda: run.quantizer.prepare(pruned, ctx)
    )
    check_claims(prepared.history, prepared.module.named_parameters())
    return prepared, ctx


def export(run: Run, model: CompressedModel, ctx: StageContext, folder: Path) -> Subject:
    """Writes the artifact, reads it back and checks it; only then may it be measured."""
    # A folder that is used again may hold the model of an earlier run.
    shutil.rmtree(folder, ignore_errors=True)
    monitor().stage("export")
    exported = run.device.runtime.export(model, run.quantizer, folder, ctx)
    subject = read_subject(folder, run.device)
    check_reload(exported, subject.model, ctx.data.calibration)
    check_claims(model.history, subject.model.weights())
    return subject


def read_subject(folder: Path, device: Device, digest: str = "") -> Subject:
    """A model folder, loaded to be measured.

    Args:
        folder: of a model of ours.
        device: what it will run on.
        digest: see `Subject`.

    Raises:
        UserError: a file is missing or damaged, or its runtime is not installed.
    """
    model = load(folder, device.torch_device, device.thread_count())
    linears = set(block_linears(read_architecture(folder)))
    compressible = {name for name, _ in model.weights() if _is_of(name, linears)}
    return Subject(model, folder, compressible, digest)


def data_record(data: TaskData) -> Data:
    """The rows, as a record tells of them."""
    return Data(
        source=f"{data.source}; evaluated on {data.evaluation.name}",
        train=len(data.training.train),
        validation=len(data.training.validation),
        evaluation=len(data.evaluation),
        digest=f"{data.training.digest}-{data.evaluation.digest}",
    )


def _is_of(weight: str, linears: set[str]) -> bool:
    """Whether it is the weight of a Linear, or of a part of what stands in for one."""
    owner, _, leaf = weight.rpartition(".")
    return leaf == "weight" and (owner in linears or owner.rpartition(".")[0] in linears)
