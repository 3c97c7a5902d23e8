"""The loop of a search whose trials one of Hydra's launchers runs: joblib, submitit, Ray.

A launcher takes a batch of jobs and returns when all of them are done, so a batch waits for its
slowest trial. The launcher owns its processes, so none of them is paused while a model is timed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher

from compress.config.ending import one_line
from compress.config.errors import UserError
from compress.search.scheduler import Interrupted, Interrupts, Scheduler
from compress.search.space import overrides_of
from compress.search.trials import TakenTrial

WAIT_SECONDS = 1.0


def run_batches(scheduler: Scheduler, launcher: Launcher, size: int, fixed: Sequence[str]) -> None:
    """Has a launcher run trials of a study until the budget is used up.

    Args:
        scheduler: takes and ends the trials.
        launcher: runs them.
        size: trials in a batch.
        fixed: overrides of every job, before those of the point.

    Raises:
        Interrupted: an interrupt or another limit ended it earlier.
        UserError: every trial would fail like one that did.
    """
    interrupts, over = Interrupts("stopping after this batch of trials"), ""
    with interrupts.counted():
        while not over:
            scheduler.maintain()
            batch: list[TakenTrial] = []
            while len(batch) < size and (taken := scheduler.next()) is not None:
                batch.append(taken)
            if batch:
                launch(scheduler, launcher, batch, fixed)
            elif scheduler.waits():
                time.sleep(WAIT_SECONDS)
            else:
                return
            over = "it was interrupted" if interrupts.count else scheduler.limit()
    raise Interrupted(over)


def launch(
    scheduler: Scheduler, launcher: Launcher, batch: Sequence[TakenTrial], fixed: Sequence[str]
) -> None:
    """Runs a batch. A job without a record failed, whatever the launcher returns."""
    # Launchers number a batch's folders from the first one's on; trials may have gaps.
    overrides = [
        [*fixed, *overrides_of(taken.point), f"hydra.sweep.subdir={taken.number}"]
        for taken in batch
    ]
    reasons: Sequence[str | None]
    try:
        done = launcher.launch(overrides, initial_job_idx=batch[0].number)
        reasons = [_reason(each) for each in done]
    except Exception as raised:
        reasons = [f"the launcher failed: {one_line(raised)}"] * len(batch)
    shared: UserError | None = None
    for taken, reason in zip(batch, reasons, strict=True):
        try:
            scheduler.end(taken, reason)
        except UserError as error:
            shared = shared or error  # once the others of the batch are written down
    if shared is not None:
        raise shared


def _reason(done: JobReturn) -> str | None:
    """The error that a job raised; None if it raised none."""
    try:
        _ = done.return_value  # raises what the job raised
    except BaseException as raised:
        return one_line(raised)
    return None
