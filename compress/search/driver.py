"""The loop of a search on this machine: assigns trials to workers and handles their messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from compress.config.errors import UserError
from compress.search.job import Outcome
from compress.search.reporter import JobSpec
from compress.search.scheduler import Interrupted, Interrupts, Scheduler
from compress.search.space import overrides_of
from compress.search.worker_pool import Worker, WorkerPool

POLL_SECONDS = 0.25
FORCED = 2  # interrupts after which running trials are killed
FIRST_INTERRUPT = "stopping before the next stage of each trial; press Ctrl-C again to stop at once"


@dataclass
class Driver:
    """One process that has its workers run trials of a study.

    Attributes:
        fixed: overrides of every job, before those of the point.
        show: displays the progress; called often.
        over: why no more trials are begun; "" while they are.
    """

    scheduler: Scheduler
    worker_pool: WorkerPool
    fixed: tuple[str, ...]
    show: Callable[[Sequence[Worker]], None]
    over: str = ""
    interrupts: Interrupts = field(default_factory=lambda: Interrupts(FIRST_INTERRUPT))

    def run(self) -> None:
        """Runs trials until the budget is used up.

        Raises:
            Interrupted: an interrupt or another limit ended it earlier.
            UserError: every trial would fail like one that did.
        """
        with self.interrupts.counted():
            try:
                while self._advance():
                    self._poll_workers()
            except UserError:
                self._give_up()
                raise
        if self.over:
            raise Interrupted(self.over)

    def _poll_workers(self) -> None:
        self.worker_pool.fill()
        for message in self.worker_pool.receive(POLL_SECONDS):
            self._handle(*message)
        self._check_times()
        self.worker_pool.schedule_measurements()
        self.show(self.worker_pool.workers)

    def _advance(self) -> bool:
        """Assigns trials; returns whether anything is left to wait for."""
        self.scheduler.maintain()
        if self.interrupts.count >= FORCED:
            self._give_up()
            return False
        self._check_limits()
        if not self.over:
            self._assign_trials()
        if self.worker_pool.busy():
            return True
        if self.over:
            return False
        return not self.worker_pool.all_ready() or self.scheduler.waits()

    def _assign_trials(self) -> None:
        for worker in self.worker_pool.idle():
            taken = self.scheduler.next()
            if taken is None:
                return
            spec = JobSpec(
                taken.number,
                (*self.fixed, *overrides_of(taken.point)),
                self.scheduler.goals.constraints,
                dict(self.scheduler.baseline),
                self.scheduler.limits.look,
            )
            worker.begin(taken, spec)

    def _handle(self, worker: Worker, kind: str, content: Any) -> None:
        match kind:
            case "ready":
                worker.ready = True
            case "stage":
                worker.stage, worker.step = content, None
            case "step":
                worker.step = content
            case "quiet":
                worker.waits_to_measure = True
            case "loud":
                worker.measuring = False
            case "done":
                self._finish(worker, content)
            case "exit":
                self._fail_worker(worker, content)

    def _finish(self, worker: Worker, outcome: Outcome) -> None:
        taken = worker.taken
        assert taken is not None, "it had a trial"
        worker.end()
        if outcome.stopped:
            self.scheduler.release(taken)
        elif not self.scheduler.end(taken, outcome.error, outcome.rejection, outcome.blame):
            # The cause of the failure may have corrupted the process too.
            self.worker_pool.replace(worker)

    def _fail_worker(self, worker: Worker, reason: str) -> None:
        """Fails the trial of a worker that died, and removes the worker."""
        taken, ready, stage = worker.taken, worker.ready, worker.stage
        worker.end()
        self.worker_pool.kill(worker)
        if taken is not None:
            self.scheduler.fail(taken, f"{reason} (while: {stage})" if stage else reason)
        elif not ready:
            raise UserError(f"a worker did not start: {reason}")

    def _give_up(self) -> None:
        """Kills the busy workers and releases their trials."""
        for worker in self.worker_pool.busy():
            taken = worker.taken
            assert taken is not None, "it is busy"
            worker.end()
            self.worker_pool.kill(worker)
            self.scheduler.release(taken)
        self.over = "it was interrupted"

    def _check_limits(self) -> None:
        if self.over:
            return
        if self.interrupts.count:
            self.over = "it was interrupted"
            # Trials end before their next stage, so that finished stages stay cached.
            for worker in self.worker_pool.busy():
                worker.send("stop")
        else:
            self.over = self.scheduler.limit()

    def _check_times(self) -> None:
        most = self.scheduler.limits.trial_seconds
        for worker in self.worker_pool.busy():
            if most is not None and worker.seconds > most:
                self._fail_worker(worker, f"it took longer than search.trial_timeout={most:g} s")
