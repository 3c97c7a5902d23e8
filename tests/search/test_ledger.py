from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import TrialState

from compress.search.goals import parse_goals
from compress.search.grammar import parse_space
from compress.search.ledger import DRAWS, Ledger
from compress.search.owner import PATIENCE_SECONDS, Owner
from compress.search.sampler import SamplerSettings
from compress.search.space import point_key
from compress.search.storage import open_storage, open_study
from compress.search.trials import OWNER, POINT, REJECTED, VOID, Claim, is_lost
from compress.settings import UserError
from tests.search.records import record_of

GOALS = parse_goals(
    {"accuracy": "maximize", "size_bytes": "minimize"},
    {"accuracy": ">= 0.5 * baseline"},
    "validation",
)
WIDE = {"a.x": "interval(0.0, 1.0)", "b": "choice(one, two)"}
NARROW = {"b": "choice(one, two)", "c": "choice(1, 2, 3)"}
NOBODY = 2**22 + 1  # above the largest process number of any system


@pytest.fixture
def storage() -> BaseStorage:
    return InMemoryStorage()


Ledgers = Callable[..., Ledger]


@pytest.fixture
def ledger(storage: BaseStorage) -> Ledgers:
    """Ledgers of one study, each of a driver of its own."""

    def make(
        space: dict[str, object] = WIDE,
        budget: int = 5,
        sampler: str = "random",
        where: BaseStorage = storage,
        seeds: tuple[dict[str, object], ...] = (),
        owner: Owner | None = None,
    ) -> Ledger:
        made = SamplerSettings(name=sampler, seed=0, options={}).make()
        study = open_study(where, "test", GOALS, made, {"space": str(space)})
        points = parse_space(space)
        found = Ledger(
            study,
            points,
            GOALS,
            budget,
            owner or here(),
            made,
            seeds=tuple(points.completed(values) for values in seeds),
            grid=sampler == "grid",
        )
        found.join()
        return found

    return make


def here() -> Owner:
    return Owner.here()


def die(ledger: Ledger) -> None:
    """Has the driver of a ledger be a process that is gone."""
    ledger.owner = replace(ledger.owner, pid=NOBODY)
    ledger._heard = 0.0
    ledger.beat()


def finish(ledger: Ledger, claim: Claim) -> None:
    ledger.finish(claim, record_of(), Path("folder"))


def claimed(ledger: Ledger) -> Claim:
    claim = ledger.claim()
    assert claim is not None
    return claim


def complete(ledger: Ledger) -> list[str]:
    states = (TrialState.COMPLETE,)
    return [point_key(t.user_attrs[POINT]) for t in ledger.trials() if t.state in states]


def test_the_budget_is_shared_between_drivers(ledger: Ledgers) -> None:
    one, two = ledger(), ledger()
    claims = [claimed(driver) for driver in (one, two, two, one, two)]
    assert one.claim() is None
    assert two.claim() is None
    assert len({point_key(claim.point) for claim in claims}) == 5
    for claim in claims:
        finish(one, claim)
    assert one.tally().complete == one.tally().finished == 5
    assert one.claim() is None


def test_a_larger_budget_carries_on(ledger: Ledgers) -> None:
    first = ledger(budget=2)
    for _ in range(2):
        finish(first, claimed(first))
    later = ledger(budget=3)
    finish(later, claimed(later))
    assert later.claim() is None
    assert later.tally().complete == 3


@pytest.mark.parametrize("sampler", ["random", "tpe", "grid", "nsgaii", "qmc"])
def test_no_point_is_run_twice_and_a_small_space_ends(ledger: Ledgers, sampler: str) -> None:
    driver = ledger(NARROW, budget=50, sampler=sampler)
    while (claim := driver.claim()) is not None:
        finish(driver, claim)
    assert len(complete(driver)) == len(set(complete(driver))) == 6


def test_a_grid_is_in_order(ledger: Ledgers) -> None:
    driver = ledger(NARROW, budget=3, sampler="grid")
    points = []
    while (claim := driver.claim()) is not None:
        points.append(dict(claim.point))
        finish(driver, claim)
    assert points == [{"b": "one", "c": c} for c in ("1", "2", "3")]


def test_what_failed_by_itself_is_not_run_again(ledger: Ledgers) -> None:
    driver = ledger({"b": "choice(one, two)"}, budget=5)
    driver.fail(claimed(driver), "broken")
    finish(driver, claimed(driver))
    assert driver.claim() is None
    tally = driver.tally()
    assert (tally.failed, tally.complete, tally.finished) == (1, 1, 2)


def test_what_is_rejected_is_infeasible(ledger: Ledgers) -> None:
    driver = ledger(budget=1)
    driver.reject(claimed(driver), {"size_bytes <= 3": 0.5}, "too large")
    assert driver.tally().infeasible == driver.tally().finished == 1
    [trial] = driver.trials()
    assert trial.constraints == {"size_bytes <= 3": 0.5}
    assert trial.user_attrs[REJECTED] == "too large"


def test_a_finished_trial_keeps_its_record_and_its_excess(ledger: Ledgers) -> None:
    driver = ledger(budget=1)
    driver.finish(claimed(driver), record_of(validation=0.2), Path("there"))
    [trial] = driver.trials()
    assert trial.values == [0.2, 100]
    assert trial.user_attrs["folder"] == "there"
    assert trial.user_attrs["record"]["metrics"]["size_bytes"] == 100
    assert trial.constraints == {"accuracy >= 0.5 * baseline": 0.5}
    assert driver.study.best_trials == []


def test_trials_of_a_driver_that_died_are_run_again(ledger: Ledgers) -> None:
    dead = ledger()
    lost = [claimed(dead) for _ in range(3)]
    finish(dead, claimed(dead))
    die(dead)
    heir = ledger()
    assert heir.recover() == [claim.number for claim in lost]
    assert heir.recover() == []
    again = [claimed(heir) for _ in lost]
    assert [claim.point for claim in again] == [claim.point for claim in lost]
    for claim in [*again, claimed(heir)]:
        finish(heir, claim)
    assert heir.claim() is None
    assert len(complete(heir)) == len(set(complete(heir))) == 5
    # Those that died count for nothing.
    assert heir.tally().finished == 5


def test_trials_of_a_driver_that_lives_are_left_alone(ledger: Ledgers) -> None:
    busy, other = ledger(), ledger()
    claim = claimed(busy)
    assert other.recover() == []
    finish(busy, claim)


def test_a_driver_elsewhere_lives_as_long_as_its_heartbeat(ledger: Ledgers) -> None:
    far = replace(here(), host="far away", pid=NOBODY)
    busy, other = ledger(owner=far), ledger()
    claimed(busy)
    assert other.recover() == []
    busy.owner = replace(busy.owner, heartbeat=time.time() - PATIENCE_SECONDS - 1)
    busy.study.set_user_attr(f"driver:{busy.owner.identity}", busy.owner.to_json())
    assert other.recover() == [0]


def test_it_is_known_which_trials_had_a_point_before(ledger: Ledgers) -> None:
    """One of them may have ended: its record is looked for."""
    for numbers in ((), (0,), (0, 1)):
        driver = ledger(budget=2)
        driver.recover()
        assert claimed(driver).before == numbers
        die(driver)


def test_a_driver_killed_between_its_steps_loses_nothing(ledger: Ledgers) -> None:
    dead = ledger(budget=3)
    half = claimed(dead)
    # Asked, not signed; then one is signed, not drawn.
    dead.study.ask()
    dead.study.ask().set_user_attr(OWNER, dead.owner.identity)
    # Objected to, not ended.
    trial = dead.study.ask()
    dead.space.draw(trial)
    trial.set_user_attr(VOID, "trial 0 has the same point")
    trial.set_user_attr(OWNER, dead.owner.identity)
    die(dead)
    heir = ledger(budget=3)
    assert heir.recover() == [0, 1, 2, 3]
    assert heir.tally().finished == heir.tally().running == 0
    points = []
    while (claim := heir.claim()) is not None:
        points.append(claim.point)
        finish(heir, claim)
    assert points.count(half.point) == 1
    assert len(complete(heir)) == len(set(complete(heir))) == 3


def test_a_lost_point_that_two_drivers_take_up_is_run_once(ledger: Ledgers) -> None:
    dead = ledger(budget=2)
    lost = claimed(dead)
    die(dead)
    one, two = ledger(budget=2), ledger(budget=2)
    one.recover()
    # Both see it before either has taken it.
    given, before = two._given(0, two.trials())
    again = claimed(one)
    assert again.point == given == lost.point
    assert two._ask(given, before) is None
    assert claimed(two).point != lost.point


def test_a_trial_that_was_being_failed_is_failed(ledger: Ledgers) -> None:
    dead = ledger(budget=1)
    claimed(dead).trial.set_user_attr("reason", "broken")
    die(dead)
    heir = ledger(budget=1)
    heir.recover()
    assert heir.tally().failed == 1
    assert heir.claim() is None


def test_a_trial_that_was_taken_for_lost_is_left_to_others(
    ledger: Ledgers, caplog: pytest.LogCaptureFixture
) -> None:
    slow, other = ledger(budget=1), ledger(budget=1)
    claim = claimed(slow)
    slow.study.set_user_attr(
        f"driver:{slow.owner.identity}", replace(slow.owner, pid=NOBODY).to_json()
    )
    other.recover()
    with caplog.at_level("WARNING"):
        finish(slow, claim)
    assert "trial 0 was given up as lost meanwhile" in caplog.text
    finish(other, claimed(other))
    assert other.tally().complete == other.tally().finished == 1


def test_a_released_trial_is_run_again(ledger: Ledgers) -> None:
    driver = ledger(budget=1)
    first = claimed(driver)
    driver.release(first)
    again = claimed(driver)
    assert again.point == first.point
    assert again.number != first.number
    finish(driver, again)
    assert driver.tally().finished == 1


def test_seed_points_come_first_and_once(ledger: Ledgers) -> None:
    seeds = ({"a.x": 0.25, "b": "two"}, {"a.x": 0.75, "b": "one"})
    first = ledger(budget=3, seeds=seeds)
    finish(first, claimed(first))
    second = ledger(budget=3, seeds=seeds)
    finish(second, claimed(second))
    finish(second, claimed(second))
    points = [trial.user_attrs[POINT] for trial in second.trials()]
    assert points[:2] == list(seeds)
    assert points[2] not in seeds
    with pytest.raises(UserError, match="outside of choice"):
        ledger(seeds=({"a.x": 0.25, "b": "three"},))


def test_a_restart_draws_other_points_and_the_same_search_the_same(storage: BaseStorage) -> None:
    def points(budgets: tuple[int, ...]) -> list[str]:
        where = InMemoryStorage()
        for budget in budgets:
            sampler = SamplerSettings(name="tpe", seed=3, options={}).make()
            study = open_study(where, "test", GOALS, sampler, {})
            driver = Ledger(study, parse_space(WIDE), GOALS, budget, here(), sampler)
            driver.join()
            while (claim := driver.claim()) is not None:
                finish(driver, claim)
        return complete(driver)

    whole, stopped = points((14,)), points((5, 14))
    assert len(set(whole)) == 14
    # Draws depend on seed, number and history, not on when the process began.
    assert stopped == whole


@pytest.mark.parametrize("sampler", ["tpe", "nsgaii", "qmc"])
def test_a_lost_point_is_run_again_when_the_sampler_has_learnt(
    ledger: Ledgers, sampler: str
) -> None:
    dead = ledger(budget=14, sampler=sampler)
    for _ in range(12):
        finish(dead, claimed(dead))
    lost = claimed(dead)
    die(dead)
    heir = ledger(budget=14, sampler=sampler)
    heir.recover()
    again = claimed(heir)
    assert again.point == lost.point
    finish(heir, again)
    assert claimed(heir).point != lost.point


def test_a_sampler_that_is_stuck_is_helped_out(ledger: Ledgers) -> None:
    class Stuck(optuna.samplers.RandomSampler):
        def sample_independent(self, *arguments: object) -> object:
            return arguments[3].choices[0]  # type: ignore[attr-defined]

    driver = ledger(NARROW, budget=3)
    driver.sampler._make = lambda seed: Stuck(seed)
    for _ in range(3):
        finish(driver, claimed(driver))
    assert len(set(complete(driver))) == 3
    # As near as can be to what it wants: (one, 1).
    assert all("one" in point or '"1"' in point for point in complete(driver))
    void = [trial for trial in driver.trials() if VOID in trial.user_attrs]
    assert len(void) == 2 * DRAWS


def test_another_definition_is_refused_with_the_difference(ledger: Ledgers) -> None:
    ledger(WIDE)
    with pytest.raises(UserError, match=r"space: .*interval.* before, .*choice.* now"):
        ledger(NARROW)


def test_many_drivers_that_die_share_a_budget_exactly(ledger: Ledgers, tmp_path: Path) -> None:
    """Threads with a connection each, most of which leave trials behind as a killed driver does."""
    budget, errors = 20, []

    def work(number: int) -> None:
        chance = random.Random(number)
        try:
            while True:
                driver = ledger(budget=budget, where=open_storage("sqlite", tmp_path))
                while True:
                    driver.recover()
                    claim = driver.claim()
                    if claim is None:
                        tally = driver.tally()
                        if tally.finished == budget:
                            return
                        time.sleep(0.02)
                    elif chance.random() < 0.3:
                        die(driver)
                        break
                    else:
                        finish(driver, claim)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert errors == []
    last = ledger(budget=budget, where=open_storage("sqlite", tmp_path))
    assert len(complete(last)) == len(set(complete(last))) == budget
    # Some points were lost on the way.
    assert any(is_lost(trial) for trial in last.trials())


@pytest.mark.parametrize("where", ["sqlite", "journal"])
def test_files_keep_a_study(ledger: Ledgers, tmp_path: Path, where: str) -> None:
    driver = ledger(where=open_storage(where, tmp_path))
    finish(driver, claimed(driver))
    assert ledger(where=open_storage(where, tmp_path)).tally().complete == 1


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("postgres", "must be sqlite, journal or a URL"),
        ("sqlite:////no/such/folder/study.db", "cannot be opened"),
        ("nothing+driver://host/name", "cannot be opened"),
    ],
)
def test_a_storage_that_cannot_be_had_is_said(tmp_path: Path, where: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        open_storage(where, tmp_path)
