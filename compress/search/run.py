"""One search from its settings to its end: the study, the workers, the screen, the last words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import optuna
from hydra.plugins.launcher import Launcher
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from optuna.trial import TrialState
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

from compress.config.credentials import scrub
from compress.config.errors import UserError
from compress.records.schema import FILE
from compress.search.batches import run_batches
from compress.search.driver import Driver
from compress.search.driver_process import DriverProcess
from compress.search.front import Front
from compress.search.job import Setup
from compress.search.limits import Limits
from compress.search.live import LiveScreen
from compress.search.plan import Plan, SearchSettings
from compress.search.sampler import GRID
from compress.search.scheduler import Interrupted, Scheduler
from compress.search.storage import check_study, open_storage, open_study
from compress.search.trial_store import TrialStore
from compress.search.trials import REASON, is_counted
from compress.search.worker_pool import open_worker_pool
from compress.system.logs import shown_path
from compress.system.terminal import plain

LIMIT = "hydra.sweeper."  # named where one was reached
BROKEN = (SQLAlchemyError, StorageInternalError, OSError)  # the study, or the disk below it
MAX_REASONS = 5  # at the end of a search


@dataclass(frozen=True)
class Search:
    """The inputs of a search.

    Attributes:
        budget: trials in all.
        folder: where the trials' folders go.
        launcher: Hydra's, if it runs the trials; None for the search's own workers.
    """

    plan: Plan
    settings: SearchSettings
    budget: int
    limits: Limits
    folder: Path
    setup: Setup
    launcher: Launcher | None = None


def run_search(search: Search) -> None:
    """Runs or resumes a search.

    Raises:
        UserError: the search cannot start, or its study cannot be written any more.
        SystemExit: the search ended before its budget was used up; names how to resume it.
    """
    console = Console()
    dimensions = ", ".join(search.plan.space.describe())
    for line in (*search.plan.left_out, f"dimensions of the search: {dimensions}"):
        console.print(plain(line), soft_wrap=True)
    try:
        search.folder.mkdir(parents=True, exist_ok=True)
        with open_trial_store(search) as trial_store:
            front = Front(trial_store, search.folder, search.settings.keep_artifacts)
            front.update()
            stopped = _drive(search, front, console)
            for line in summary_lines(front):
                console.print(plain(line), soft_wrap=True)
    except BROKEN as error:
        reason = scrub(" ".join(str(error).split()))
        raise UserError(
            f"the search cannot continue: {reason}. Finished trials are saved: the same "
            "command resumes it"
        ) from error
    if stopped:
        more = " with a larger limit" if LIMIT in stopped else ""
        raise SystemExit(
            f"stopped: {stopped}. The same command{more} resumes {shown_path(search.folder)}"
        )


def check_resumable(search: Search) -> None:
    """Checks that a search is new, or can be resumed with these settings.

    Raises:
        UserError: its trials are of others.
    """
    search.folder.mkdir(parents=True, exist_ok=True)
    check_study(_storage(search), search.settings.name, search.plan.definition)


def _storage(search: Search) -> BaseStorage:
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # else it says how studies are opened
    return open_storage(search.settings.storage, search.folder)


@contextmanager
def open_trial_store(search: Search) -> Iterator[TrialStore]:
    """The study, created or loaded, with this process as one of its drivers inside the block.

    Raises:
        UserError: the study is new, and the folder has trials of another one.
    """
    plan, settings = search.plan, search.settings
    sampler = settings.sampler.make()
    study = open_study(_storage(search), settings.name, plan.goals, sampler, plan.definition)
    trial_store = TrialStore(
        study,
        plan.space,
        plan.goals,
        search.budget,
        DriverProcess.current(),
        sampler,
        seeds=tuple(plan.space.parse_point(values) for values in settings.seed_points),
        grid=settings.sampler.name == GRID,
    )
    trial_store.send_heartbeat()
    try:
        others = search.folder.glob(f"*/{FILE}")
        if not study.trials and any(path.parent.name.isdecimal() for path in others):
            raise UserError(
                f"{search.folder} holds trials of a study that was deleted or renamed; choose "
                "another search.name or hydra.sweep.dir"
            )
        yield trial_store
    finally:
        # An unwritable study has been reported already.
        with suppress(*BROKEN):
            trial_store.leave()


def _drive(search: Search, front: Front, console: Console) -> str:
    """Runs trials; returns why it ended early, "" if it did not."""
    workers, fixed = search.settings.workers, search.plan.fixed
    screen = LiveScreen(console, front)
    scheduler = Scheduler(front, search.limits, screen.print_result)
    try:
        if search.launcher is not None:
            run_batches(scheduler, search.launcher, workers, fixed)
        else:
            with open_worker_pool(search.setup, workers) as worker_pool, screen:
                Driver(scheduler, worker_pool, fixed, screen.update).run()
    except Interrupted as reason:
        return str(reason)
    return ""


def summary_lines(front: Front) -> Iterator[str]:
    """Summary of a search: trial counts and reasons of failures; a report says what to ship."""
    found = front.feasible()
    best = front.best(found)
    counts = front.trial_store.trial_counts()
    yield (
        f"{counts.finished} trials: {counts.complete} finished, {counts.infeasible} infeasible, "
        f"{counts.failed} failed; {len(best)} on the front of those that meet all constraints, "
        f"{shown_path(front.folder / 'front.csv')}"
    )
    reasons = Counter(
        str(trial.user_attrs[REASON])
        for trial in front.trial_store.trials()
        if trial.state == TrialState.FAIL and is_counted(trial)
    )
    for reason, count in reasons.most_common(MAX_REASONS):
        yield f"{count} failed: {reason}"
    if len(reasons) > MAX_REASONS:
        yield f"and {len(reasons) - MAX_REASONS} other reasons, in each trial's metrics.json"
    if counts.failed and not counts.complete + counts.infeasible:
        yield (
            "No trial has finished. Failed trials use up the budget: raise "
            "hydra.sweeper.n_trials or choose another search.name"
        )
