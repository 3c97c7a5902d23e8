"""The scheduler of a search: takes the next trial, ends it from its record, checks the limits."""

from __future__ import annotations

import logging
import math
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from compress.config.blame import Blame
from compress.config.errors import UserError
from compress.records.schema import FILE, RunRecord, read_record
from compress.search.front import Front
from compress.search.job import OUTPUT
from compress.search.limits import Limits
from compress.search.reporter import Rejection
from compress.search.trials import TakenTrial
from compress.store.run_folder import RUN, is_marked

log = logging.getLogger(__name__)

RECOVER_SECONDS = 15.0  # between two checks for trials whose driver died


class Interrupted(Exception):
    """The search ended before its budget was used up; it can be resumed."""


@dataclass
class Scheduler:
    """Takes and ends the trials of one driver.

    Attributes:
        front: is updated after each trial.
        print_result: prints one line for a trial that has ended.
        baseline: figures of the baseline by metric, once a run has measured them.
    """

    front: Front
    limits: Limits
    print_result: Callable[[TakenTrial, str], None]
    baseline: dict[str, float] = field(default_factory=dict)
    _last_recovery: float = -math.inf

    def __post_init__(self) -> None:
        """Keeps at hand what the front has."""
        self.trial_store, self.goals = self.front.trial_store, self.front.goals
        self.folder = self.front.folder

    def next(self) -> TakenTrial | None:
        """The next trial to run; None if none is free. Trials with a record are ended first."""
        while (taken := self.trial_store.take()) is not None:
            for number in taken.before:
                folder = self.folder / str(number)
                left = _left(folder)
                # A failure shared by all trials may have been fixed since.
                if isinstance(left, str) or (left.status != "ok" and self._is_shared(left.blame)):
                    continue
                self._finish_trial(taken, left, folder)
                break
            else:
                self._check_new(taken)
                return taken
        return None

    def end(
        self,
        taken: TakenTrial,
        error: str | None,
        rejection: Rejection | None = None,
        blame: Blame = (),
    ) -> bool:
        """Ends a trial after its run; returns whether the run succeeded.

        Args:
            taken: the trial.
            error: message of the run, used if it has no record.
            rejection: of a run that was stopped early.
            blame: config groups that caused the error.

        Raises:
            UserError: every trial would fail like this one; the trial is released.
        """
        folder = self.folder / str(taken.number)
        if rejection is not None:
            self.trial_store.reject(taken, rejection.excesses, rejection.reason)
            self._report(taken, f"infeasible: {rejection.reason}")
            return True
        left = _left(folder)
        if not isinstance(left, str):
            self._finish_trial(taken, left, folder)
            return left.status == "ok"
        self._handle_failure(taken, error or left, blame)
        return False

    def fail(self, taken: TakenTrial, reason: str) -> None:
        """Marks a trial as failed."""
        self.trial_store.fail(taken, reason)
        self._report(taken, f"failed: {reason}")

    def release(self, taken: TakenTrial) -> None:
        """Releases a trial so that its point runs again, and deletes its folder."""
        self.trial_store.release(taken.number)
        folder = self.folder / str(taken.number)
        if is_marked(folder, RUN):
            shutil.rmtree(folder, ignore_errors=True)

    def maintain(self) -> None:
        """Sends a heartbeat and periodically recovers abandoned trials."""
        self.trial_store.send_heartbeat()
        now = time.monotonic()
        if now - self._last_recovery > RECOVER_SECONDS:
            self._last_recovery = now
            for number in self.trial_store.recover():
                log.info("trial %d: its driver died; its point is run again", number)

    def limit(self) -> str:
        """Message naming the limit that was reached; "" if none was."""
        limits, counts = self.limits, self.trial_store.trial_counts()
        spent = limits.spent + self.trial_store.hours()
        over = limits.hours is not None and spent > limits.hours
        # With the last of the budget, nothing is left to run.
        if over and limits.least <= counts.finished < self.trial_store.budget:
            return f"hydra.sweeper.max_hours={limits.hours:g} have passed"
        if limits.failures is not None and counts.failed > limits.failures:
            return f"more than hydra.sweeper.max_failures={limits.failures} trials failed"
        return ""

    def waits(self) -> bool:
        """Whether other drivers run trials that may be abandoned, or points wait to run again."""
        counts = self.trial_store.trial_counts()
        return counts.running + counts.abandoned > 0 and counts.finished < self.trial_store.budget

    def _check_new(self, taken: TakenTrial) -> None:
        """Releases a trial whose folder already exists, and ends the search with a UserError."""
        folder = self.folder / str(taken.number)
        if folder.exists() or folder.is_symlink():
            self.trial_store.release(taken.number)
            raise UserError(
                f"{folder} exists before trial {taken.number} has started: it belongs to another "
                "study; choose another search.name or hydra.sweep.dir"
            )

    def _finish_trial(self, taken: TakenTrial, record: RunRecord, folder: Path) -> None:
        if record.status != "ok":
            self._handle_failure(taken, record.error or record.status, record.blame)
            return
        values = dict(zip(self.goals.objectives, self.goals.values(record), strict=True))
        unknown = [name for name, value in values.items() if math.isnan(value)]
        if unknown:
            self.fail(taken, f"{', '.join(unknown)} could not be measured")
            return
        self.baseline = self.goals.baseline(record)
        self.trial_store.finish(taken, record, folder)
        words = ", ".join(f"{name} {value:.6g}" for name, value in values.items())
        broken = "; ".join(self.goals.broken(record))
        self._report(taken, f"{words}; infeasible: {broken}" if broken else words)

    def _handle_failure(self, taken: TakenTrial, reason: str, blame: Blame) -> None:
        """Marks a trial as failed; ends the search where every trial would fail the same way."""
        if self._is_shared(blame):
            self.release(taken)
            raise UserError(f"every trial would fail as trial {taken.number} did: {reason}")
        self.fail(taken, reason)

    def _is_shared(self, blame: Blame) -> bool:
        """Whether the failure comes only from settings that are the same in all trials."""
        swept = {each.key.partition(".")[0] for each in self.trial_store.space.dimensions}
        return any(groups and swept.isdisjoint(groups) for groups in blame)

    def _report(self, taken: TakenTrial, words: str) -> None:
        self.print_result(taken, words)
        self.front.update()


class Interrupts:
    """Counts SIGINT and SIGTERM instead of ending the program."""

    def __init__(self, words: str) -> None:
        """Stores the message that is printed at the first signal."""
        self.count, self._words = 0, words

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Counts signals inside the block."""
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._count) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _count(self, _: int, __: FrameType | None) -> None:
        self.count += 1
        if self.count == 1:
            # Not printed: the signal may have come in the middle of a print.
            os.write(2, f"{self._words}\n".encode())


def _left(folder: Path) -> RunRecord | str:
    """The record that a run wrote, or why there is none."""
    if not os.path.lexists(folder / FILE):
        printed = folder / OUTPUT
        return "its run wrote no record" + (f"; see {printed}" if printed.is_file() else "")
    try:
        return read_record(folder / FILE)
    except UserError as error:
        return str(error)
