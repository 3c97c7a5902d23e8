"""What `run.py` does around a run: its record, its tracker, its errors, its objectives."""

from __future__ import annotations

import datetime
import gc
import logging
import math
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from compress.config.blame import blame, blamed
from compress.config.compose import without_targets
from compress.config.construct import construct
from compress.config.credentials import scrub, scrubbed
from compress.config.ending import mistake, one_line
from compress.config.errors import UserError
from compress.core.monitor import UNWATCHED, Monitor, Rejected
from compress.records.metrics import objective_values
from compress.records.schema import (
    FILE,
    FailedRun,
    FinishedRun,
    RunRecord,
    RunStart,
    read_record,
    write_record,
)
from compress.records.words import summary_words
from compress.store.folder_locks import check_cache, check_inputs, own_folder, shared_folder
from compress.store.run_folder import holds_result
from compress.system.logs import shown_path
from compress.system.processes import start_server
from compress.tracker.components.tracking import Tracker

log = logging.getLogger(__name__)

# In a run's folder: why the tracker did not take it.
UNTRACKED = "untracked.txt"


def run_job(cfg: DictConfig, monitor: Monitor = UNWATCHED) -> float | list[float]:
    """Executes one composed config and writes its metrics.json, whatever becomes of it.

    In a multirun a failure is logged and recorded, and the other jobs go on: the objectives are
    then NaN, which a sweeper takes as a failed trial. Alone, it ends the program.

    Returns:
        The objectives in the order of `cfg.objectives`; a bare number if there is one.
    """
    try:
        with own_folder() as folder:
            return _run_in(folder, cfg, monitor)
    except Exception as error:
        words = mistake(error)
        if words is None or HydraConfig.get().mode != RunMode.RUN:
            raise
        # Not an Exception to Hydra, which would print lines of its own about one.
        raise SystemExit(f"error: {words}") from error


def _run_in(folder: Path, cfg: DictConfig, monitor: Monitor) -> float | list[float]:
    def work(start: RunStart) -> FinishedRun:
        # Imported here: torch and transformers take seconds, and --help needs neither. What imports
        # make lasts, and looking for garbage in it takes a sixth of their time.
        gc.disable()
        try:
            from compress.build import build_run
            from compress.experiment.definition import check_row
            from compress.measure.worker import PRELOADED
            from compress.pipeline import execute
        finally:
            gc.enable()
        check_row(start.config.get("experiment"), start.overrides)
        check_inputs(cfg, folder)
        with blame("cache"):
            check_cache(cfg, folder)
        run = build_run(cfg)
        if "search" in cfg and HydraConfig.get().mode == RunMode.RUN:
            log.warning("this is one run with the overrides of +search; add -m to search")
        start_server(PRELOADED)
        known = replace(start, knobs=run.knobs())
        return execute(run, folder, shared_folder(folder), known, monitor)

    hydra = HydraConfig.get()
    # As they were given: what an override refers to is not within Hydra's own config.
    overrides = OmegaConf.to_container(hydra.overrides.task, resolve=False)
    assert isinstance(overrides, list)
    blank = blank_record(cfg, dict(hydra.runtime.choices), tuple(map(str, overrides)))
    record, error = recorded(blank, folder, work)
    # Whoever stopped the run does not want to wait for a server.
    ended = error is None or isinstance(error, Exception)
    reason = track(cfg, record, folder, shared_folder(folder)) if ended else None
    if isinstance(record, FinishedRun):
        log.info("%s → %s", summary_words(record), shown_path(folder))
        if record.folds is not None:
            log.info("%s", record.folds.words(tuple(cfg.objectives)))
    if error is not None:
        _report(error)
    if reason is not None and hydra.mode == RunMode.RUN:
        raise SystemExit(f"error: the run succeeded, but was not tracked: {reason}")
    return _objectives(record)


def recorded(
    start: RunStart, folder: Path, work: Callable[[RunStart], FinishedRun]
) -> tuple[RunRecord, BaseException | None]:
    """Does a run's work and writes its metrics.json, whatever becomes of it.

    Returns:
        The record, and what went wrong.
    """
    began = time.perf_counter()
    record: RunRecord
    failure: BaseException | None = None
    try:
        record = work(start)
    except BaseException as error:
        record, failure = _failed(start, error), error
    record = replace(record, seconds=time.perf_counter() - began)
    # A run that was refused before it began has not cleared its folder: what an earlier one has
    # found is still there, and stays.
    if failure is not None and holds_result(folder):
        return record, failure
    try:
        write_record(record, folder)
    except ValueError as error:
        # A figure is not a number: a bug, and no reason to have no record at all.
        record, failure = _failed(replace(start, seconds=record.seconds), error), error
        write_record(record, folder)
    return record, failure


def _failed(start: RunStart, error: BaseException) -> FailedRun:
    if isinstance(error, Rejected):
        return FailedRun(**vars(start), status="infeasible", error=str(error))
    return FailedRun(**vars(start), status="failed", error=one_line(error), blame=blamed(error))


def track(cfg: DictConfig, record: RunRecord, folder: Path, shared: Path) -> str | None:
    """Hands a run that has ended to the tracker. Its metrics.json is written, come what may.

    Returns:
        Why the tracker did not take it, which is logged and left in the run's folder for
        `track_sweep`; None if it did.
    """
    try:
        tracker = construct(cfg, "tracker", Tracker)
        tracker.check()
    except UserError:
        return None  # the run was refused for it, or for what was found earlier
    try:
        tracker.log(record, folder, shared)
    except Exception as error:
        reason = one_line(error)
        log.error("not tracked: %s", reason)
        with suppress(OSError):  # the disk may be full; that is then the reason
            (folder / UNTRACKED).write_text(f"{reason}\n")
        return reason
    (folder / UNTRACKED).unlink(missing_ok=True)
    return None


def track_sweep(cfg: DictConfig, shared: Path) -> list[str]:
    """Hands the report in a sweep's folder to the tracker, and the runs that it did not take.

    Returns:
        Why it did not take something; empty if it has everything now.
    """
    reasons: list[str | None] = []
    for path in sorted(shared.rglob(UNTRACKED)):
        try:
            record = read_record(path.parent / FILE)
        except UserError as error:
            reasons.append(one_line(error))
            continue
        reasons.append(track(cfg, record, path.parent, shared))
    try:
        construct(cfg, "tracker", Tracker).log_report(shared)
    except Exception as error:
        reasons.append(one_line(error))
    return [reason for reason in reasons if reason is not None]


def blank_record(
    cfg: DictConfig, choices: Mapping[str, object], overrides: tuple[str, ...]
) -> RunStart:
    """What is known of a run before it starts."""
    try:
        config = OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException:
        config = OmegaConf.to_container(cfg)  # the run is about to be refused for it
    assert isinstance(config, dict)
    seed = config.get("seed")
    return RunStart(
        started=now(),
        seed=seed if type(seed) is int else None,
        # "recovery@pruner.recovery" is part of a choice; "hydra/launcher" is how runs are started.
        choices={k: str(v) for k, v in choices.items() if "@" not in k and k[:6] != "hydra/"},
        overrides=tuple(map(scrub, overrides)),
        config={str(k): scrubbed(without_targets(v), str(k)) for k, v in config.items()},
    )


def now() -> str:
    """The time, as records tell it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _report(error: BaseException) -> None:
    """Logs a failure, and ends the program where no other job waits or the user wants to stop."""
    if not isinstance(error, Exception):
        raise error
    if isinstance(error, Rejected):
        log.info("infeasible: %s", error)
        return
    if HydraConfig.get().mode == RunMode.RUN:
        raise error
    if mistake(error) is None:
        log.error("%s", scrub("".join(traceback.format_exception(error))))
    log.error("failed: %s", one_line(error))


def _objectives(record: RunRecord) -> float | list[float]:
    """What the sweeper gets; of a failed run whose config names none, one figure that is none."""
    names = record.config.get("objectives")
    values = objective_values(record, tuple(names) if isinstance(names, list) else ())
    return values if len(values) > 1 else (values or [math.nan])[0]
