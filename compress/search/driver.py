"""The loop of a search on this machine: hands trials to workers and hears what comes of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from compress.config.errors import UserError
from compress.search.crew import Crew, Died, Worker
from compress.search.desk import Desk, Interrupted, Interrupts
from compress.search.job import Outcome
from compress.search.reporter import Order
from compress.search.space import overrides_of

LISTEN_SECONDS = 0.25
FORCED = 2  # interrupts after which nothing is waited for
FIRST_INTERRUPT = "stopping before the next stage of each trial; once more to stop at once"


class Screen(Protocol):
    """Shows how the search goes."""

    def update(self, driver: Driver) -> None:
        """Called often."""


@dataclass
class Driver:
    """One process that has its workers run trials of a study.

    Attributes:
        fixed: overrides of every job, before those of the point.
        over: why no more trials are begun; "" while they are.
    """

    desk: Desk
    crew: Crew
    fixed: tuple[str, ...]
    screen: Screen
    over: str = ""
    interrupts: Interrupts = field(default_factory=lambda: Interrupts(FIRST_INTERRUPT))

    def run(self) -> None:
        """Runs trials until the budget is used up.

        Raises:
            Interrupted: it ended before that, on the user's wish or at another limit.
            UserError: every trial would fail like one that did.
        """
        with self.interrupts.counted():
            try:
                while self._go_on():
                    self._listen()
            except UserError:
                self._give_up()
                raise
        if self.over:
            raise Interrupted(self.over)

    def _listen(self) -> None:
        """Hears what workers have to say, and sees to them."""
        self.crew.fill()
        for worker, news in self.crew.listen(LISTEN_SECONDS):
            self._handle(worker, news)
        self._check_times()
        self.crew.share_quiet()
        self.screen.update(self)

    def _go_on(self) -> bool:
        """Hands out trials; says whether there is anything left to wait for."""
        self.desk.keep_up()
        if self.interrupts.count >= FORCED:
            self._give_up()
            return False
        self._check_limits()
        if not self.over:
            self._hand_out()
        if self.crew.busy():
            return True
        if self.over:
            return False
        return not self.crew.all_ready() or self.desk.waits()

    def _hand_out(self) -> None:
        for worker in self.crew.idle():
            claim = self.desk.next()
            if claim is None:
                return
            order = Order(
                claim.number,
                (*self.fixed, *overrides_of(claim.point)),
                self.desk.goals.constraints,
                dict(self.desk.baseline),
                self.desk.limits.look,
            )
            worker.begin(claim, order)

    def _handle(self, worker: Worker, news: str | Outcome | Died) -> None:
        match news:
            case "ready":
                worker.ready = True
            case "quiet":
                worker.wants_quiet = True
            case "loud":
                worker.has_quiet = False
            case Died():
                self._bury(worker, str(news))
            case Outcome():
                self._finish(worker, news)

    def _finish(self, worker: Worker, outcome: Outcome) -> None:
        """Writes down what came of a worker's trial, and has the worker ready for another."""
        claim = worker.claim
        assert claim is not None, "it had a trial"
        worker.end()
        if outcome.stopped:
            self.desk.release(claim)
        elif not self.desk.end(claim, outcome.error, outcome.rejection, outcome.blame):
            # Whatever broke the trial may have broken its process too.
            self.crew.replace(worker)

    def _bury(self, worker: Worker, reason: str) -> None:
        """Ends the trial of a worker that is gone, and has the worker replaced."""
        claim, ready, stage = worker.claim, worker.ready, worker.stage
        worker.end()
        self.crew.dismiss(worker)
        if claim is not None:
            self.desk.fail(claim, f"{reason} (while: {stage})" if stage else reason)
        elif not ready:
            raise UserError(f"a worker did not start: {reason}")

    def _give_up(self) -> None:
        """Kills what is running; its trials wait to be run again."""
        for worker in self.crew.busy():
            claim = worker.claim
            assert claim is not None, "it is busy"
            worker.end()
            self.crew.dismiss(worker)
            self.desk.release(claim)
        self.over = "it was interrupted"

    def _check_limits(self) -> None:
        if self.over:
            return
        if self.interrupts.count:
            self.over = "it was interrupted"
            # Every trial ends where nothing is lost: before its next stage.
            for worker in self.crew.busy():
                worker.tell("stop")
        else:
            self.over = self.desk.limit()

    def _check_times(self) -> None:
        most = self.desk.limits.trial_seconds
        for worker in self.crew.busy():
            if most is not None and worker.seconds > most:
                self._bury(worker, f"it took longer than search.trial_timeout={most:g} s")
