"""What `run.py` does around a run: its record, its tracker, its errors, its objectives."""

from __future__ import annotations

import datetime
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from compress.claims import check_cache, check_inputs, own_folder, shared_folder
from compress.metrics import objective_values
from compress.monitor import Rejected
from compress.processes import start_server
from compress.records import FILE, SCHEMA, RunRecord, read_record, write_record
from compress.report.quality import kind_of, value_words
from compress.run_folder import holds_result
from compress.settings import UserError
from compress.tracking import Tracker

log = logging.getLogger(__name__)

# The only code that a config may name; Hydra refuses any other `_target_`.
TRUSTED_TARGETS = ("compress.*", "hydra_plugins.hydra_optuna_sweeper.*", "optuna.samplers.*")

# In a run's folder: why the tracker did not take it.
UNTRACKED = "untracked.txt"


def run_job(cfg: DictConfig) -> float | list[float]:
    """Executes one composed config and writes its metrics.json, whatever becomes of it.

    In a multirun a failure is logged and recorded, and the other jobs go on: the objectives are
    then NaN, which a sweeper takes as a failed trial. Alone, it ends the program.

    Returns:
        The objectives in the order of `cfg.objectives`; a bare number if there is one.
    """
    with own_folder() as folder:
        return _run_in(folder, cfg)


def _run_in(folder: Path, cfg: DictConfig) -> float | list[float]:
    def work(record: RunRecord) -> RunRecord:
        # Imported here: torch and transformers take seconds, and --help needs neither.
        from compress.build import build_run
        from compress.experiment.definition import check_row
        from compress.measure.worker import PRELOADED
        from compress.pipeline import execute

        check_row(record.config.get("experiment"), record.overrides)
        check_inputs(cfg, folder)
        check_cache(cfg, folder)
        run = build_run(cfg)
        start_server(PRELOADED)
        return execute(run, folder, shared_folder(folder), record)

    hydra = HydraConfig.get()
    blank = blank_record(cfg, dict(hydra.runtime.choices), tuple(hydra.overrides.task))
    record, error = recorded(blank, folder, work)
    # Whoever stopped the run does not want to wait for a server.
    ended = error is None or isinstance(error, Exception)
    reason = track(cfg, record, folder, shared_folder(folder)) if ended else None
    if error is None:
        _log_summary(record, folder)
        if record.folds is not None:
            log.info("%s", record.folds.words(tuple(cfg.objectives)))
    else:
        _report(error)
    if reason is not None and hydra.mode == RunMode.RUN:
        raise SystemExit(f"error: the run is whole, but not tracked: {reason}")
    values = objective_values(record, tuple(cfg.objectives))
    return values[0] if len(values) == 1 else values


def recorded(
    record: RunRecord, folder: Path, work: Callable[[RunRecord], RunRecord]
) -> tuple[RunRecord, BaseException | None]:
    """Does a run's work and writes its metrics.json, whatever becomes of it.

    Args:
        record: what is known before; it counts as failed until the work has succeeded.
        folder: the run's own, which exists.
        work: returns the record with all figures.

    Returns:
        The record, and what went wrong.
    """
    started = time.perf_counter()
    failure: BaseException | None = None
    try:
        record = work(record)
    except Rejected as error:
        record, failure = replace(record, status="infeasible", error=str(error)), error
    except BaseException as error:
        record, failure = replace(record, error=one_line(error)), error
    record = replace(record, seconds=time.perf_counter() - started)
    # A run that was refused before it began has not cleared its folder: what an earlier one has
    # found is still there, and stays.
    if failure is None or not holds_result(folder):
        write_record(record, folder)
    return record, failure


def track(cfg: DictConfig, record: RunRecord, folder: Path, shared: Path) -> str | None:
    """Hands a run that has ended to the tracker. Its metrics.json is written, come what may.

    Args:
        cfg: the run's config.
        record: what metrics.json says.
        folder: the run's own.
        shared: the folder of the sweep that it belongs to; its own if to none.

    Returns:
        Why the tracker did not take it, which is logged and left in the run's folder for
        `track_sweep`; None if it did.
    """
    # Imported here: it has the trusted targets from this module.
    from compress.construct import construct

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
    from compress.construct import construct

    reasons = [
        track(cfg, read_record(path.parent / FILE), path.parent, shared)
        for path in sorted(shared.rglob(UNTRACKED))
    ]
    try:
        construct(cfg, "tracker", Tracker).log_report(shared)
    except Exception as error:
        reasons.append(one_line(error))
    return [reason for reason in reasons if reason is not None]


def blank_record(
    cfg: DictConfig, choices: Mapping[str, object], overrides: tuple[str, ...]
) -> RunRecord:
    """What is known of a run before it starts; it counts as failed until it has succeeded."""
    config = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config, dict)
    return RunRecord(
        schema=SCHEMA,
        status="failed",
        error=None,
        started=now(),
        seconds=0.0,
        seed=config["seed"] if isinstance(config["seed"], int) else None,
        # A top-level group has a bare name; "recovery@pruner.recovery" is part of a choice.
        choices={k: str(v) for k, v in choices.items() if not {"/", "@"} & set(k)},
        overrides=overrides,
        config={str(key): value for key, value in config.items()},
    )


def now() -> str:
    """The time, as records tell it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def cross_choices(arguments: list[str]) -> list[str]:
    """Lets `-m pruner=wanda,magnitude pruner.sparsity=0.5` mean what it says.

    Hydra composes a base config with the default choice of each swept group first, and refuses a
    key which only the swept choices have. As a sweep of one value it waits for the jobs.

    Args:
        arguments: of the command line, without the program's name.

    Returns:
        The same, with `key=value` as `key=choice(value)` where `key` belongs to a swept group.
    """
    words = [word for word in arguments if not word.startswith("-")]
    try:
        parsed = OverridesParser.create().parse_overrides(words)
    except HydraException:
        return arguments  # Hydra is about to say what is wrong with them
    swept = {override.key_or_group for override in parsed if override.is_sweep_override()}
    waiting = {}
    for override in parsed:
        group = override.key_or_group.partition(".")[0]
        fixed = not (override.is_sweep_override() or override.is_delete())
        if fixed and group in swept and override.input_line is not None:
            key, _, value = override.input_line.partition("=")
            waiting[override.input_line] = f"{key}=choice({value})"
    return [waiting.get(word, word) for word in arguments]


@contextmanager
def command_line() -> Iterator[None]:
    """Shows a mistake in a config as one line and exits with 1; a traceback means a bug of ours."""
    sys.argv[1:] = cross_choices(sys.argv[1:])
    # With it Hydra raises instead of printing its own report of several lines.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    # Hydra looks for plugins in packages of its own alone.
    from compress.experiment.sweeper import RowsSweeper
    from compress.search.sweeper import ParetoSweeper

    for sweeper in (ParetoSweeper, RowsSweeper):
        Plugins.instance().register(sweeper)
    try:
        yield
    except (HydraException, OmegaConfBaseException, UserError) as error:
        sys.exit(f"error: {one_line(error)}")


def one_line(error: BaseException) -> str:
    """The error's text in one line; its kind before it if it is a bug."""
    words = " ".join(str(error).split())
    if isinstance(error, HydraException):
        return _hydra_words(error)
    if isinstance(error, OmegaConfBaseException | UserError):
        return words
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _report(error: BaseException) -> None:
    """Logs a failure, and ends the program where no other job waits or the user wants to stop."""
    if not isinstance(error, Exception):
        raise error
    if isinstance(error, Rejected):
        log.info("infeasible: %s", error)
        return
    if HydraConfig.get().mode == RunMode.RUN:
        if isinstance(error, UserError):
            # Not an Exception to Hydra, which would print lines of its own about one.
            raise SystemExit(f"error: {one_line(error)}") from error
        raise error
    if not isinstance(error, UserError):
        log.error("%s", "".join(traceback.format_exception(error)))
    log.error("failed: %s", one_line(error))


def _log_summary(record: RunRecord, folder: Path) -> None:
    assert record.metrics is not None
    assert record.baseline is not None
    ours, theirs, speed = record.metrics, record.baseline, record.speedup[0]
    kind = kind_of(ours.score)
    log.info(
        "%s %s (teacher %s), %.1f MB (%.1f), %.2f ms (%.2f, %.2fx [%.2f, %.2f]) → %s",
        kind.words,
        *(value_words(kind, score.value, 4) for score in (ours.score, theirs.score)),
        ours.size_bytes / 1e6,
        theirs.size_bytes / 1e6,
        ours.latency[0].median_ms,
        theirs.latency[0].median_ms,
        speed.ratio,
        speed.low,
        speed.high,
        folder,
    )


def _hydra_words(error: HydraException) -> str:
    """Hydra's message without its search path and its view of the config's inside."""
    lines = [str(error).partition("Config search path:")[0]]
    cause = error.__cause__
    if isinstance(cause, OmegaConfBaseException):
        lines.append(str(cause).partition("full_key:")[0])
    words = " ".join(" ".join(lines).split())
    if "is not in struct" in words:
        words = words.replace("To append to your config use", "To add a key use")
        words += "; `python run.py --cfg job` shows every key"
    return words
