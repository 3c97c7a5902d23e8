"""One run: distill, prune, quantize, save, reload, measure."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.analysis.fold_average import over_folds
from compress.config.blame import blame
from compress.core.monitor import UNWATCHED, Monitor
from compress.interfaces import TaskData
from compress.measure.environment import environment
from compress.measure.flips import write_flips
from compress.measure.run import MeasureContext, measure
from compress.measure.sharing import forget_timings
from compress.records.folds import FOLD_NAME
from compress.records.schema import Data, FinishedRun, RunStart, write_record
from compress.stage.between import measure_between
from compress.stage.controls import sweep_controls
from compress.stage.forecast import forecast
from compress.stage.run import Run
from compress.stage.stages import compress, load_measured, read_back, write
from compress.store.artifact import write_temperature
from compress.store.baseline import keep_baseline
from compress.store.card import write_card
from compress.store.run_folder import MODEL_FOLDER, clear_run, make_fold
from compress.system.packages import choice_name
from compress.transformer.coverage import with_quantizer

if TYPE_CHECKING:
    from compress.interfaces import CompressedModel, ExportResult, Processor, StageContext
    from compress.store.cache import StageStore

log = logging.getLogger(__name__)


def execute(
    run: Run, folder: Path, shared: Path, start: RunStart, monitor: Monitor = UNWATCHED
) -> FinishedRun:
    """Compresses and measures one model; its folder becomes `<folder>/model`.

    Where the task has folds there is a model for each of them, in `<folder>/fold-1/model` and so
    on, with a record of its own beside it.

    Args:
        run: what to do.
        folder: the run's own folder, which exists. What an earlier run left there is deleted.
        shared: the folder of the sweep that the run belongs to; its own if to none.
        start: what is known about the run before it starts.
        monitor: watches the run.
    """
    alone = shared == folder  # asked here, as a fold's folder is never the shared one
    if alone and run.controls == "sweep":
        run = replace(run, controls="never")
    monitor.forecast(lambda: forecast(run))
    clear_run(folder)
    if alone:
        forget_timings(folder)
    tasks = run.task.each_fold()
    if len(tasks) == 1:
        return _execute_one(run, folder, shared, start, monitor)
    runs = [replace(run, task=task) for task in tasks]
    return _execute_folds(runs, folder, shared, start, monitor)


def _execute_folds(
    runs: Sequence[Run], folder: Path, shared: Path, start: RunStart, monitor: Monitor
) -> FinishedRun:
    """Compresses and measures the model of each fold; the record of them all."""
    found = {}
    folders = [make_fold(folder, number) for number in range(1, len(runs) + 1)]
    for number, (run, own) in enumerate(zip(runs, folders, strict=True), start=1):
        log.info("fold %d of %d", number, len(runs))
        began = time.perf_counter()
        each = _execute_one(run, own, shared, _fold_start(start, number), monitor)
        found[own.name] = replace(each, seconds=time.perf_counter() - began)
        write_record(found[own.name], own)
    return over_folds(start, found)


def _fold_start(start: RunStart, number: int) -> RunStart:
    """What is known of one fold before it starts: its settings are those of that fold alone."""
    task = start.settings("task")
    task = {**task, "split": {**task.get("split", {}), "fold": number}}
    return replace(
        start,
        overrides=(*start.overrides, f"task.split.fold={number}"),
        config={**start.config, "task": task},
    )


def _execute_one(
    run: Run, folder: Path, shared: Path, start: RunStart, outer: Monitor
) -> FinishedRun:
    """Compresses and measures the model of a task that has no folds, or one of them."""
    watching = run.tracker.watching(folder, outer)
    with run.device.session(), watching as monitor, ExitStack() as opened:
        with blame("cache"):
            store = opened.enter_context(run.cache.open(folder, run.device, run.seed, monitor))
        # First: rows that cannot be read are said in one line, and a busy machine is one more.
        with blame("task"):
            data = run.task.load()
        began = time.perf_counter()
        surroundings = environment(run.device)
        measuring_seconds = time.perf_counter() - began
        model, ctx = compress(run, data.training, store, monitor)
        data = data.tokenized(ctx.teacher, store)
        format_, runtime = (choice_name(type(p)) for p in (run.quantizer, run.device.runtime))
        log.info("export: %s on %s …", format_, runtime)
        exported = write(model, run.quantizer, ctx, folder / MODEL_FOLDER)
        kept = keep_baseline(ctx.teacher, shared)
        began = time.perf_counter()
        figures = _figures(run, (model, exported), ctx, store, data, (folder, kept))
        measuring_seconds += time.perf_counter() - began
        record = FinishedRun(
            **vars(start),
            environment=surroundings,
            model=MODEL_FOLDER,
            baseline_model=os.path.relpath(kept, folder),
            data=data_record(data, ctx.teacher.tokenizer),
            **figures,
            measuring_seconds=measuring_seconds,
        )
        write_card(record, folder / MODEL_FOLDER)
        return record


def _figures(
    run: Run,
    made: tuple[CompressedModel, ExportResult],
    ctx: StageContext,
    store: StageStore,
    data: TaskData,
    folders: tuple[Path, Path],
) -> dict[str, Any]:
    """What a record says of a model that was written, by the record's field.

    Args:
        run: whose model it is.
        made: the model, and how it was exported.
        ctx: of the stages.
        store: with what the stages and the measuring took from the cache.
        data: tokenized.
        folders: of the run, and of the baseline.
    """
    (model, exported), (folder, kept) = made, folders
    candidate = read_back(exported, model, ctx, folder / MODEL_FOLDER)
    baseline = load_measured(kept, run.device, ctx.teacher.digest)
    ctx.monitor.stage("score")
    name = os.path.relpath(folder, kept.parent)
    # The figures of folds are averaged, and must be independent.
    part = folder.name if FOLD_NAME.fullmatch(folder.name) else ""
    how = MeasureContext(run.device, run.seed, store, kept.parent, name, part, ctx.monitor)
    measured = measure(candidate, baseline, data, how)
    between = measure_between(run, ctx, data, store, baseline, how)
    history = with_quantizer(model, run.quantizer, candidate.model.weights())
    write_flips(measured.flips, folder)
    if (found := measured.metrics.calibration) is not None:
        write_temperature(folder / MODEL_FOLDER, found.temperature)
    return {
        **measured.fields(),
        "history": tuple(map(asdict, history)),
        "stage_metrics": tuple(between) if run.measure_stages else (),
        "stages": tuple(store.records),  # those of the controls are not the run's
        "controls": sweep_controls(run, ctx, data, baseline, how),
    }


def data_record(data: TaskData, tokenizer: Processor) -> Data:
    """Describes the rows for the record; the teacher's tokenizer says how many are truncated."""
    return Data(
        source=f"{data.source}; evaluated on {data.evaluation.name}",
        train=len(data.training.train),
        validation=len(data.training.validation),
        evaluation=len(data.evaluation),
        digest=f"{data.training.labeled.digest}-{data.evaluation.digest}",
        truncated=data.evaluation.truncated(tokenizer),
        transfer=data.transfer,
    )
