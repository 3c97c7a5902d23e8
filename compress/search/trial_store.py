"""The trials of a study as one driver sees them: taken, finished, failed, or abandoned.

Several drivers share a study without a lock. A trial belongs to the driver that asked for it. Its
point is stored, and then compared with the points of all trials of lower numbers: of equal points
the lowest number runs, and of more trials than the budget the lowest numbers run. The others are
void: they fail without a reason and do not count against the budget.

A trial whose driver has died fails without a reason too: it is abandoned. Its point is run again
because it is a point of an abandoned trial and of no counted one; nothing else is stored.
Optuna's own queue is not used: on SQLite, two drivers can receive the same trial from it.
"""

from __future__ import annotations

import itertools
import logging
import math
import random
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

from optuna import Study
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from compress.analysis.goals import Goals
from compress.config.errors import UserError
from compress.config.legible import LONGEST_ERROR, shortened
from compress.records.schema import FinishedRun
from compress.search.driver_process import (
    HEARTBEAT_SECONDS,
    PATIENCE_SECONDS,
    DriverProcess,
    drivers_of,
)
from compress.search.sampler import PerTrialSampler
from compress.search.space import Point, Space, differences, point_key
from compress.search.trials import (
    DRIVER,
    FOLDER,
    POINT,
    REASON,
    RECORD,
    REJECTED,
    VOID,
    TakenTrial,
    TrialCounts,
    is_abandoned,
    is_counted,
    key_of,
)

log = logging.getLogger(__name__)

POLL_SECONDS = 0.05
# After DRAWS points that were run already, the sampler is replaced: by the nearest new point where
# the space can be listed, else by a random point. After MOST_DRAWS the search ends.
DRAWS, MOST_DRAWS = 3, 200
MOST_POINTS = 10_000  # a space with more points is treated as infinite


@dataclass
class TrialStore:
    """One driver's view of the study.

    Attributes:
        budget: total number of trials, over all drivers and restarts.
        seeds: points to run first.
        grid: whether points come from the enumerated space instead of the sampler.
    """

    study: Study
    space: Space
    goals: Goals
    budget: int
    driver: DriverProcess
    sampler: PerTrialSampler
    seeds: tuple[Point, ...] = ()
    grid: bool = False
    _last_heartbeat: float = field(default=-math.inf, init=False)

    def send_heartbeat(self) -> None:
        """Registers the driver, and renews its heartbeat once it is old."""
        if time.monotonic() - self._last_heartbeat > HEARTBEAT_SECONDS:
            self._sign()
            self._last_heartbeat = time.monotonic()

    def leave(self) -> None:
        """Marks the driver as gone, which abandons its running trials."""
        self._sign(gone=True)

    def _sign(self, gone: bool = False) -> None:
        self.driver = replace(self.driver, heartbeat=time.time(), gone=gone)
        self.study.set_user_attr(self.driver.key, asdict(self.driver))

    def trials(self) -> list[FrozenTrial]:
        """All trials, void ones too, by number."""
        return sorted(self.study.get_trials(deepcopy=False), key=lambda trial: trial.number)

    def trial_counts(self) -> TrialCounts:
        """The number of trials in each state."""
        trials = self.trials()
        states = [trial.state for trial in trials if is_counted(trial)]
        return TrialCounts(
            complete=states.count(TrialState.COMPLETE),
            infeasible=states.count(TrialState.PRUNED),
            failed=states.count(TrialState.FAIL),
            running=states.count(TrialState.RUNNING),
            abandoned=len(_abandoned(trials)),
        )

    def hours(self) -> float:
        """Hours that all drivers have spent on the study, restarts included."""
        now = replace(self.driver, heartbeat=time.time())
        found = {**drivers_of(self.study), self.driver.identity: now}
        return sum(each.heartbeat - each.joined for each in found.values()) / 3600

    def take(self) -> TakenTrial | None:
        """The next trial to run; None if there is none now.

        That may change: a trial of another driver may be abandoned and run again.

        Raises:
            UserError: only points that were run already are drawn.
        """
        for draw in range(MOST_DRAWS):
            trials = self.trials()
            counting = [trial for trial in trials if is_counted(trial)]
            if len(counting) >= self.budget:
                return None
            seen = {key_of(trial) for trial in counting}
            given, before = self._predefined_point(draw, trials, seen)
            if given is None and self._listed is not None and not self._left(seen):
                return None
            taken = self._ask(given, before)
            if taken is not None:
                return taken
        raise UserError(
            f"{MOST_DRAWS} points drawn in a row were run already; the space may be too small for "
            "hydra.sweeper.n_trials"
        )

    def finish(self, taken: TakenTrial, record: FinishedRun, folder: Path) -> None:
        """Marks a trial as complete, with the record of its run."""
        trial = taken.trial
        with _skip_if_abandoned(trial.number):
            trial.set_user_attr(FOLDER, str(folder))
            trial.set_user_attr(RECORD, asdict(record))
            for name, excess in self.goals.excesses(record).items():
                trial.set_constraint(name, excess)
            self.study.tell(trial, self.goals.values(record))

    def reject(self, taken: TakenTrial, excesses: Mapping[str, float], reason: str) -> None:
        """Marks a trial as infeasible: its run was stopped early for a constraint."""
        with _skip_if_abandoned(taken.number):
            taken.trial.set_user_attr(REJECTED, reason)
            for name, excess in excesses.items():
                taken.trial.set_constraint(name, excess)
            self.study.tell(taken.trial, state=TrialState.PRUNED)

    def fail(self, taken: TakenTrial, reason: str) -> None:
        """Marks a trial as failed; it is not run again."""
        with _skip_if_abandoned(taken.number):
            taken.trial.set_user_attr(REASON, shortened(reason, LONGEST_ERROR))
            self.study.tell(taken.trial, state=TrialState.FAIL)

    def release(self, number: int) -> None:
        """Abandons a trial: it fails without a reason, and its point is run again."""
        # Another driver may have abandoned it first.
        with suppress(ValueError, UpdateFinishedTrialError):
            self.study.tell(number, state=TrialState.FAIL)

    def recover(self) -> list[int]:
        """Abandons the running trials of drivers that have died; returns their numbers."""
        running = [trial for trial in self.trials() if trial.state == TrialState.RUNNING]
        # Read after the trials: whoever runs one of them had joined by then.
        drivers = drivers_of(self.study)
        abandoned = [trial.number for trial in running if self._is_abandoned(trial, drivers)]
        for number in abandoned:
            self.release(number)
        return abandoned

    @cached_property
    def _listed(self) -> list[Point] | None:
        """Every point of the space; None if there are too many."""
        if (points := self.space.points()) is None:
            return None
        found = list(itertools.islice(points, MOST_POINTS + 1))
        return found if len(found) <= MOST_POINTS else None

    def _predefined_point(
        self, draw: int, trials: Sequence[FrozenTrial], seen: Collection[str]
    ) -> tuple[Point | None, list[int]]:
        """The point to run if the sampler must not draw one, and the abandoned trials with it."""
        for numbers, point in _abandoned(trials).values():
            return point, numbers
        for point in self.seeds:
            if point_key(point) not in seen:
                return point, []
        if not (self.grid or draw >= DRAWS):
            return None, []
        if self._listed is None:
            return self.space.random(len(trials)), []
        if not (left := self._left(seen)):
            return None, []
        if self.grid:
            return left[0], []
        # The point nearest to the sampler's latest suggestion.
        random.Random(len(trials)).shuffle(left)
        wanted = trials[-1].user_attrs.get(POINT, {})
        return min(left, key=lambda point: differences(point, wanted)), []

    def _left(self, seen: Collection[str]) -> list[Point]:
        """The points of an enumerable space that were not run yet."""
        return [point for point in self._listed or () if point_key(point) not in seen]

    def _ask(self, given: Point | None, before: Sequence[int]) -> TakenTrial | None:
        """A new trial of this driver; None if it is void."""
        with self.sampler.fixed(given):
            trial = self.study.ask()
            with _skip_if_abandoned(trial.number):
                trial.set_user_attr(DRIVER, self.driver.identity)
                point = self.space.draw(trial)
                trial.set_user_attr(POINT, dict(point))
                void_reason = self._void_reason(trial.number, point)
                if void_reason is None:
                    return TakenTrial(trial, point, tuple(before))
                trial.set_user_attr(VOID, void_reason)
                self.study.tell(trial, state=TrialState.FAIL)
        return None

    def _void_reason(self, number: int, point: Point) -> str | None:
        """Why a trial of this driver is void; None if it can run."""
        before = self._earlier_trials(number)
        for other in before:
            if key_of(other) == point_key(point):
                return f"trial {other.number} has the same point"
        return "the budget is used up" if len(before) >= self.budget else None

    def _earlier_trials(self, number: int) -> list[FrozenTrial]:
        """The counted trials of lower numbers, once all of them have drawn their points."""
        while True:
            before = [t for t in self.trials() if t.number < number and is_counted(t)]
            running = (trial for trial in before if trial.state == TrialState.RUNNING)
            drawing = [trial for trial in running if POINT not in trial.user_attrs]
            drivers = drivers_of(self.study) if drawing else {}
            if all(self._is_abandoned(trial, drivers) for trial in drawing):
                return before
            self.send_heartbeat()
            time.sleep(POLL_SECONDS)

    def _is_abandoned(self, trial: FrozenTrial, drivers: Mapping[str, DriverProcess]) -> bool:
        """Whether no living driver runs a trial that is marked as running."""
        others = {k: v for k, v in drivers.items() if k != self.driver.identity}
        driver = trial.user_attrs.get(DRIVER)
        if driver is not None:
            return driver in others and not others[driver].alive()
        # Just created by a driver that has not signed it yet, or that died before it could.
        if not any(each.alive() for each in others.values()):
            return True
        started = trial.datetime_start
        return started is not None and time.time() - started.timestamp() > PATIENCE_SECONDS


@contextmanager
def _skip_if_abandoned(number: int) -> Iterator[None]:
    """Ignores the end of a trial that another driver has abandoned in the meantime."""
    try:
        yield
    except UpdateFinishedTrialError:
        log.warning("trial %d was abandoned by another driver; it is run again", number)


def _abandoned(trials: Sequence[FrozenTrial]) -> dict[str, tuple[list[int], Point]]:
    """The points to run again by key, each with the numbers of its abandoned trials, in order.

    The next driver checks in the folders of these trials whether one had ended after all.
    """
    seen = {key_of(trial) for trial in trials if is_counted(trial)}
    found: dict[str, tuple[list[int], Point]] = {}
    for trial in trials:
        if is_abandoned(trial) and key_of(trial) not in seen:
            numbers, _ = found.setdefault(key_of(trial), ([], trial.user_attrs[POINT]))
            numbers.append(trial.number)
    return found
