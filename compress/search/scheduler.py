"""What becomes of trials: which one is next, what its run has left, and when there are enough."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Protocol

from compress.analysis.goals import Goals
from compress.config.blame import Blame
from compress.config.errors import UserError
from compress.records.schema import FILE, RunRecord, read_record
from compress.search.job import OUTPUT
from compress.search.limits import Limits
from compress.search.reporter import Rejection
from compress.search.trial_store import TrialStore
from compress.search.trials import TakenTrial
from compress.store.run_folder import RUN, is_marked

log = logging.getLogger(__name__)

RECOVER_SECONDS = 15.0  # between two looks for trials whose driver has died


class Interrupted(Exception):
    """The search was asked to end before its budget was used up; it can be carried on."""


class Teller(Protocol):
    """Tells the user of results."""

    def finished(self, taken: TakenTrial, words: str) -> None:
        """Called once for each trial that has ended."""


class Shelf(Protocol):
    """Keeps the front on disk."""

    def update(self) -> None:
        """Called after every trial that has ended."""


@dataclass
class Scheduler:
    """One driver's dealings with the trial store.

    Attributes:
        folder: of the search; each trial has a folder below it, named by its number.
        baseline: its figures by metric, once a run has measured them.
    """

    trial_store: TrialStore
    goals: Goals
    limits: Limits
    folder: Path
    teller: Teller
    shelf: Shelf
    baseline: dict[str, float] = field(default_factory=dict)
    _looked: float | None = None

    def next(self) -> TakenTrial | None:
        """A trial to run; None if there is none now. What was run already is concluded first."""
        while (taken := self.trial_store.take()) is not None:
            folders = (self.folder / str(number) for number in taken.before)
            found = ((_left(folder), folder) for folder in folders)
            records = ((r, folder) for r, folder in found if not isinstance(r, str))
            # What failed by a setting of all trials may have been mended since.
            made = next((each for each in records if not self._failed_for_all(each[0])), None)
            if made is None:
                self._check_new(taken)
                return taken
            self._conclude(taken, *made)
        return None

    def end(
        self,
        taken: TakenTrial,
        error: str | None,
        rejection: Rejection | None = None,
        blame: Blame = (),
    ) -> bool:
        """Ends a trial whose run is over.

        Args:
            taken: the trial.
            error: what is known of it beside its record.
            rejection: why it was not finished.
            blame: whose fault the error is.

        Returns:
            Whether the run went as it should.

        Raises:
            UserError: every trial would fail like this one, which does not count.
        """
        folder = self.folder / str(taken.number)
        if rejection is not None:
            self.trial_store.reject(taken, rejection.excesses, rejection.reason)
            self._settled(taken, f"infeasible: {rejection.reason}")
            return True
        left = _left(folder)
        if not isinstance(left, str):
            self._conclude(taken, left, folder)
            return left.status == "ok"
        self._break(taken, error or left, blame)
        return False

    def fail(self, taken: TakenTrial, reason: str) -> None:
        """Ends a trial by its own fault."""
        self.trial_store.fail(taken, reason)
        self._settled(taken, f"failed: {reason}")

    def release(self, taken: TakenTrial) -> None:
        """Puts a trial back; what it left is of no use but for the stage cache."""
        self.trial_store.release(taken)
        folder = self.folder / str(taken.number)
        if is_marked(folder, RUN):
            shutil.rmtree(folder, ignore_errors=True)

    def keep_up(self) -> None:
        """Says that the driver is alive, and now and then looks for trials that were lost."""
        self.trial_store.beat()
        now = time.monotonic()
        if self._looked is not None and now - self._looked < RECOVER_SECONDS:
            return
        self._looked = now
        for number in self.trial_store.recover():
            log.info("trial %d: its driver has died; its point is run again", number)

    def limit(self) -> str:
        """Which limit was reached, in words; "" if none was."""
        limits = self.limits
        if limits.hours is not None and self.trial_store.hours() > limits.hours:
            return f"hydra.sweeper.max_hours={limits.hours:g} have passed"
        if limits.failures is not None and self.trial_store.trial_counts().failed > limits.failures:
            return f"more than hydra.sweeper.max_failures={limits.failures} trials failed"
        return ""

    def waits(self) -> bool:
        """Whether trials are left that others run, and may lose, or that wait to be run."""
        counts = self.trial_store.trial_counts()
        return counts.running + counts.lost > 0 and counts.finished < self.trial_store.budget

    def _check_new(self, taken: TakenTrial) -> None:
        """Puts a trial back whose folder is there already, and ends the search.

        Raises:
            UserError: so it was. Its content must not count as the trial's.
        """
        folder = self.folder / str(taken.number)
        if folder.exists() or folder.is_symlink():
            self.trial_store.release(taken)
            raise UserError(
                f"{folder} is there before trial {taken.number} has begun: it is of another study; "
                "give the search another name or folder (search.name, hydra.sweep.dir)"
            )

    def _conclude(self, taken: TakenTrial, record: RunRecord, folder: Path) -> None:
        """Ends a trial with the record of its run."""
        if record.status != "ok":
            self._break(taken, record.error, record.blame)
            return
        values = dict(zip(self.goals.objectives, self.goals.values(record), strict=True))
        unknown = [name for name, value in values.items() if value != value]
        if unknown:
            self.fail(taken, f"{', '.join(unknown)} could not be measured")
            return
        self.baseline = self.goals.baseline(record)
        self.trial_store.finish(taken, record, folder)
        words = ", ".join(f"{name} {value:.6g}" for name, value in values.items())
        broken = [name for name, excess in self.goals.excesses(record).items() if excess > 0]
        self._settled(taken, f"{words}{' but not ' if broken else ''}{', '.join(broken)}")

    def _break(self, taken: TakenTrial, reason: str, blame: Blame) -> None:
        """Ends a trial that failed; and all others, where they would fail like it."""
        if self._is_shared(blame):
            self.release(taken)
            raise UserError(f"every trial would fail as trial {taken.number} did: {reason}")
        self.fail(taken, reason)

    def _failed_for_all(self, record: RunRecord) -> bool:
        return record.status != "ok" and self._is_shared(record.blame)

    def _is_shared(self, blame: Blame) -> bool:
        """Whether it is the fault of settings alone that are the same in all trials."""
        swept = {each.key.partition(".")[0] for each in self.trial_store.space.dimensions}
        return any(groups and swept.isdisjoint(groups) for groups in blame)

    def _settled(self, taken: TakenTrial, words: str) -> None:
        self.teller.finished(taken, words)
        self.shelf.update()


class Interrupts:
    """Counts Ctrl-C and SIGTERM, while it is entered, instead of the program dying of them."""

    def __init__(self, words: str) -> None:
        """Notes what to tell the user at the first one."""
        self.count, self._words = 0, words

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Within it, they are counted."""
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
    """The record that a run left; or why there is none."""
    if not os.path.lexists(folder / FILE):
        printed = folder / OUTPUT
        return "its run left no record" + (f"; see {printed}" if printed.is_file() else "")
    try:
        return read_record(folder / FILE)
    except UserError as error:
        return str(error)
