"""The trials of a study: who runs which, what counts, and what becomes of those that were lost.

Several drivers share a study without a lock. A trial belongs to the driver that asked for it. What
it drew is written down, and then compared with the trials of lower numbers once these have written
down theirs: of equal points the lowest number runs, and of more trials than the budget has the
lowest numbers do. The others are void: they fail without a reason and count for nothing.

A trial whose driver has died fails likewise. That its point must be run again is nowhere written
down, so that it cannot be forgotten: it is the point of a lost trial and of none that counts.
Optuna's own queue is not used: on SQLite, two drivers can be given the same trial from it.
"""

from __future__ import annotations

import itertools
import logging
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
from compress.search.sampler import NumberedSampler
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
    counts,
    is_lost,
    key_of,
)

log = logging.getLogger(__name__)

POLL_SECONDS = 0.05
# A sampler that keeps to points which were run already is helped out after so many draws: by the
# nearest new point where these can be listed, else by a random one. After many more there is none.
DRAWS, MOST_DRAWS = 3, 200
MOST_POINTS = 10_000  # a space with more is not listed: it is as good as endless


@dataclass
class TrialStore:
    """One driver's view of the study.

    Attributes:
        budget: trials in all, over all drivers and restarts.
        seeds: points to run first.
        grid: whether all points come from the space's list instead of the sampler.
    """

    study: Study
    space: Space
    goals: Goals
    budget: int
    driver: DriverProcess
    sampler: NumberedSampler
    seeds: tuple[Point, ...] = ()
    grid: bool = False
    _heard: float = field(default=0.0, init=False)

    def beat(self) -> None:
        """Says that the driver is alive, if it has not done so lately; makes it known at first."""
        if time.monotonic() - self._heard > HEARTBEAT_SECONDS or not self._heard:
            self.driver = replace(self.driver, heartbeat=time.time())
            self.study.set_user_attr(self.driver.key, self.driver.to_json())
            self._heard = time.monotonic()

    def leave(self) -> None:
        """Says that the driver ends: what it left running is lost, though its process may go on."""
        self.driver = replace(self.driver, heartbeat=time.time(), gone=True)
        self.study.set_user_attr(self.driver.key, self.driver.to_json())

    def trials(self) -> list[FrozenTrial]:
        """All trials, void ones too, by number."""
        return sorted(self.study.get_trials(deepcopy=False), key=lambda trial: trial.number)

    def trial_counts(self) -> TrialCounts:
        """What has become of the trials that count."""
        trials = self.trials()
        states = [trial.state for trial in trials if counts(trial)]
        return TrialCounts(
            complete=states.count(TrialState.COMPLETE),
            infeasible=states.count(TrialState.PRUNED),
            failed=states.count(TrialState.FAIL),
            running=states.count(TrialState.RUNNING),
            lost=len(_lost(trials)),
        )

    def hours(self) -> float:
        """Time that drivers have spent on the study, this one and all restarts included."""
        now = replace(self.driver, heartbeat=time.time())
        found = {**drivers_of(self.study.user_attrs), self.driver.identity: now}
        return sum(each.heartbeat - each.joined for each in found.values()) / 3600

    def take(self) -> TakenTrial | None:
        """The next trial to run; None if there is none now.

        That may change: a trial that runs elsewhere may be lost and wait to be run again.

        Raises:
            UserError: nothing is drawn but points that were run already.
        """
        for draw in range(MOST_DRAWS):
            trials = self.trials()
            counting = [trial for trial in trials if counts(trial)]
            if len(counting) >= self.budget:
                return None
            seen = {key_of(trial) for trial in counting}
            given, before = self._given(draw, trials, seen)
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
        """Ends a trial with what its run found."""
        trial = taken.trial
        with _unless_given_up(trial.number):
            trial.set_user_attr(FOLDER, str(folder))
            trial.set_user_attr(RECORD, asdict(record))
            for name, excess in self.goals.excesses(record).items():
                trial.set_constraint(name, excess)
            self.study.tell(trial, self.goals.values(record))

    def reject(self, taken: TakenTrial, excesses: Mapping[str, float], reason: str) -> None:
        """Ends a trial that cannot meet a constraint, as was seen before it was finished."""
        with _unless_given_up(taken.number):
            taken.trial.set_user_attr(REJECTED, reason)
            for name, excess in excesses.items():
                taken.trial.set_constraint(name, excess)
            self.study.tell(taken.trial, state=TrialState.PRUNED)

    def fail(self, taken: TakenTrial, reason: str) -> None:
        """Ends a trial by its own fault; it is not run again."""
        with _unless_given_up(taken.number):
            taken.trial.set_user_attr(REASON, shortened(reason, LONGEST_ERROR))
            self.study.tell(taken.trial, state=TrialState.FAIL)

    def release(self, taken: TakenTrial) -> None:
        """Gives a trial up by no fault of its own; its point is run again."""
        self._give_up(taken.number)

    def recover(self) -> list[int]:
        """Ends the trials that drivers which have died left running; their points are run again.

        Returns:
            The numbers of these trials.
        """
        running = [trial for trial in self.trials() if trial.state == TrialState.RUNNING]
        # Read after the trials: whoever runs one of them had joined by then.
        drivers = drivers_of(self.study.user_attrs)
        lost = [trial.number for trial in running if self._is_lost(trial, drivers)]
        for number in lost:
            self._give_up(number)
        return lost

    @cached_property
    def _listed(self) -> list[Point] | None:
        """Every point of the space; None if there are too many."""
        points = self.space.points()
        found = None if points is None else list(itertools.islice(points, MOST_POINTS + 1))
        return None if found is None or len(found) > MOST_POINTS else found

    def _given(
        self, draw: int, trials: Sequence[FrozenTrial], seen: Collection[str]
    ) -> tuple[Point | None, list[int]]:
        """The point to run, if the sampler is not to draw one; and the lost trials that had it."""
        for numbers, point in _lost(trials).values():
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
        # As near as can be to what the sampler wanted last.
        random.Random(len(trials)).shuffle(left)
        wanted = trials[-1].user_attrs.get(POINT, {})
        return min(left, key=lambda point: differences(point, wanted)), []

    def _left(self, seen: Collection[str]) -> list[Point]:
        """The points of a space that can be listed which were not run yet."""
        return [point for point in self._listed or () if point_key(point) not in seen]

    def _ask(self, given: Point | None, before: Sequence[int]) -> TakenTrial | None:
        """A new trial of this driver; None if it turned out to be void."""
        with self.sampler.fixed(given):
            trial = self.study.ask()
            with _unless_given_up(trial.number):
                trial.set_user_attr(DRIVER, self.driver.identity)
                point = self.space.draw(trial)
                trial.set_user_attr(POINT, dict(point))
                objection = self._objection(trial.number, point)
                if objection is None:
                    return TakenTrial(trial, point, tuple(before))
                trial.set_user_attr(VOID, objection)
                self.study.tell(trial, state=TrialState.FAIL)
        return None

    def _objection(self, number: int, point: Point) -> str | None:
        """Why a trial of this driver is not to be run; None if nothing is against it."""
        before = self._settled_before(number)
        for other in before:
            if key_of(other) == point_key(point):
                return f"trial {other.number} has the same point"
        return "the budget is used up" if len(before) >= self.budget else None

    def _settled_before(self, number: int) -> list[FrozenTrial]:
        """The counting trials of lower numbers, once all of them have drawn their points."""
        while True:
            before = [t for t in self.trials() if t.number < number and counts(t)]
            drawing = [
                trial
                for trial in before
                if trial.state == TrialState.RUNNING and POINT not in trial.user_attrs
            ]
            drivers = drivers_of(self.study.user_attrs) if drawing else {}
            if all(self._is_lost(trial, drivers) for trial in drawing):
                return before
            self.beat()
            time.sleep(POLL_SECONDS)

    def _give_up(self, number: int) -> None:
        """Has a trial fail without counting."""
        # Another driver may have found it as well and been faster.
        with suppress(ValueError, UpdateFinishedTrialError):
            self.study.tell(number, state=TrialState.FAIL)

    def _is_lost(self, trial: FrozenTrial, drivers: Mapping[str, DriverProcess]) -> bool:
        """Whether nobody runs a trial that says it is running."""
        others = {k: v for k, v in drivers.items() if k != self.driver.identity}
        driver = trial.user_attrs.get(DRIVER)
        if driver is not None:
            return driver in others and not others[driver].alive()
        # Asked for a moment ago by a driver that has not signed it yet, or that died before.
        if not any(each.alive() for each in others.values()):
            return True
        started = trial.datetime_start
        return started is not None and time.time() - started.timestamp() > PATIENCE_SECONDS


@contextmanager
def _unless_given_up(number: int) -> Iterator[None]:
    """Within it, a trial that another driver took for lost is left to that driver."""
    try:
        yield
    except UpdateFinishedTrialError:
        log.warning("trial %d was given up as lost meanwhile; it is run again", number)


def _lost(trials: Sequence[FrozenTrial]) -> dict[str, tuple[list[int], Point]]:
    """The points to be run again, with the numbers of the trials that were lost, first ones first.

    The next driver finds in these trials' folders whether one had ended after all.
    """
    seen = {key_of(trial) for trial in trials if counts(trial)}
    found: dict[str, tuple[list[int], Point]] = {}
    for trial in trials:
        if is_lost(trial) and key_of(trial) not in seen:
            numbers, _ = found.setdefault(key_of(trial), ([], trial.user_attrs[POINT]))
            numbers.append(trial.number)
    return found
