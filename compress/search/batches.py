"""The loop of a search whose trials one of Hydra's launchers runs: joblib, submitit, Ray.

A launcher takes a batch of jobs and returns when all of them are done, so a batch waits for its
slowest trial. The launcher owns its processes, so none of them is paused while a model is timed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher

from compress.config.ending import one_line
from compress.config.errors import UserError
from compress.search.scheduler import Interrupted, Interrupts, Scheduler
from compress.search.space import overrides_of
from compress.search.trials import TakenTrial

WAIT_SECONDS = 1.0
FIRST_INTERRUPT = "stopping after this batch of trials"


@dataclass
class Batches:
    """One process that has a launcher run trials of a study.

    Attributes:
        size: trials in a batch.
        fixed: overrides of every job, before those of the point.
    """

    scheduler: Scheduler
    launcher: Launcher
    size: int
    fixed: tuple[str, ...]
    interrupts: Interrupts = field(default_factory=lambda: Interrupts(FIRST_INTERRUPT))

    def run(self) -> None:
        """Runs trials until the budget is used up.

        Raises:
            Interrupted: an interrupt or another limit ended it earlier.
            UserError: every trial would fail like one that did.
        """
        over = ""
        with self.interrupts.counted():
            while not over:
                self.scheduler.maintain()
                taken_trials = self._taken_trials()
                if taken_trials:
                    self._launch(taken_trials)
                elif self.scheduler.waits():
                    time.sleep(WAIT_SECONDS)
                else:
                    return
                over = "it was interrupted" if self.interrupts.count else self.scheduler.limit()
        raise Interrupted(over)

    def _taken_trials(self) -> list[TakenTrial]:
        taken_trials: list[TakenTrial] = []
        while len(taken_trials) < self.size and (taken := self.scheduler.next()) is not None:
            taken_trials.append(taken)
        return taken_trials

    def _launch(self, taken_trials: Sequence[TakenTrial]) -> None:
        """Runs a batch. A job without a record failed, whatever the launcher returns."""
        # Launchers number a batch's folders from the first one's on; trials may have gaps.
        overrides = [
            [*self.fixed, *overrides_of(taken.point), f"hydra.sweep.subdir={taken.number}"]
            for taken in taken_trials
        ]
        reasons: Sequence[str | None]
        try:
            done = self.launcher.launch(overrides, initial_job_idx=taken_trials[0].number)
            reasons = [_reason(each) for each in done]
        except Exception as raised:
            reasons = [f"the launcher failed: {one_line(raised)}"] * len(taken_trials)
        shared: UserError | None = None
        for taken, reason in zip(taken_trials, reasons, strict=True):
            try:
                self.scheduler.end(taken, reason)
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
