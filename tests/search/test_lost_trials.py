from __future__ import annotations

import random
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from compress.search.driver_process import PATIENCE_SECONDS, DriverProcess
from compress.search.storage import open_storage
from compress.search.trials import DRIVER, VOID, is_abandoned
from tests.search.trial_stores import NOBODY, TrialStores, complete, die, finish, take_trial


def test_trials_of_a_driver_that_died_are_run_again(trial_store: TrialStores) -> None:
    dead = trial_store()
    lost = [take_trial(dead) for _ in range(3)]
    finish(dead, take_trial(dead))
    die(dead)
    heir = trial_store()
    assert heir.recover() == [taken.number for taken in lost]
    assert heir.recover() == []
    again = [take_trial(heir) for _ in lost]
    assert [taken.point for taken in again] == [taken.point for taken in lost]
    for taken in [*again, take_trial(heir)]:
        finish(heir, taken)
    assert heir.take() is None
    assert len(complete(heir)) == len(set(complete(heir))) == 5
    # Those that died count for nothing.
    assert heir.trial_counts().finished == 5


def test_trials_of_a_driver_that_lives_are_left_alone(trial_store: TrialStores) -> None:
    busy, other = trial_store(), trial_store()
    taken = take_trial(busy)
    assert other.recover() == []
    finish(busy, taken)


def test_a_driver_elsewhere_lives_as_long_as_its_heartbeat(trial_store: TrialStores) -> None:
    far = replace(DriverProcess.current(), host="far away", pid=NOBODY)
    busy, other = trial_store(driver=far), trial_store()
    take_trial(busy)
    assert other.recover() == []
    busy.driver = replace(busy.driver, heartbeat=time.time() - PATIENCE_SECONDS - 1)
    busy.study.set_user_attr(busy.driver.key, asdict(busy.driver))
    assert other.recover() == [0]


def test_it_is_known_which_trials_had_a_point_before(trial_store: TrialStores) -> None:
    """One of them may have ended: its record is looked for."""
    for numbers in ((), (0,), (0, 1)):
        driver = trial_store(budget=2)
        driver.recover()
        assert take_trial(driver).before == numbers
        die(driver)


def test_a_driver_killed_between_its_steps_loses_nothing(trial_store: TrialStores) -> None:
    dead = trial_store(budget=3)
    half = take_trial(dead)
    # Asked, not signed; then one is signed, not drawn.
    dead.study.ask()
    dead.study.ask().set_user_attr(DRIVER, dead.driver.identity)
    # Objected to, not ended.
    trial = dead.study.ask()
    dead.space.draw(trial)
    trial.set_user_attr(VOID, "trial 0 has the same point")
    trial.set_user_attr(DRIVER, dead.driver.identity)
    die(dead)
    heir = trial_store(budget=3)
    assert heir.recover() == [0, 1, 2, 3]
    assert heir.trial_counts().finished == heir.trial_counts().running == 0
    points = []
    while (taken := heir.take()) is not None:
        points.append(taken.point)
        finish(heir, taken)
    assert points.count(half.point) == 1
    assert len(complete(heir)) == len(set(complete(heir))) == 3


def test_a_lost_point_that_two_drivers_take_up_is_run_once(trial_store: TrialStores) -> None:
    dead = trial_store(budget=2)
    lost = take_trial(dead)
    die(dead)
    one, two = trial_store(budget=2), trial_store(budget=2)
    one.recover()
    # Both see it before either has taken it.
    given, before = two._predefined_point(0, two.trials(), ())
    again = take_trial(one)
    assert again.point == given == lost.point
    assert two._ask(given, before) is None
    assert take_trial(two).point != lost.point


def test_a_trial_that_was_being_failed_is_failed(trial_store: TrialStores) -> None:
    dead = trial_store(budget=1)
    take_trial(dead).trial.set_user_attr("reason", "broken")
    die(dead)
    heir = trial_store(budget=1)
    heir.recover()
    assert heir.trial_counts().failed == 1
    assert heir.take() is None


def test_a_trial_that_was_taken_for_lost_is_left_to_others(
    trial_store: TrialStores, caplog: pytest.LogCaptureFixture
) -> None:
    slow, other = trial_store(budget=1), trial_store(budget=1)
    taken = take_trial(slow)
    slow.study.set_user_attr(slow.driver.key, asdict(replace(slow.driver, pid=NOBODY)))
    other.recover()
    with caplog.at_level("WARNING"):
        finish(slow, taken)
    assert "trial 0 was abandoned by another driver" in caplog.text
    finish(other, take_trial(other))
    assert other.trial_counts().complete == other.trial_counts().finished == 1


def test_a_released_trial_is_run_again(trial_store: TrialStores) -> None:
    driver = trial_store(budget=1)
    first = take_trial(driver)
    driver.release(first.number)
    again = take_trial(driver)
    assert again.point == first.point
    assert again.number != first.number
    finish(driver, again)
    assert driver.trial_counts().finished == 1


@pytest.mark.parametrize("sampler", ["tpe", "nsgaii", "qmc"])
def test_a_lost_point_is_run_again_when_the_sampler_has_learnt(
    trial_store: TrialStores, sampler: str
) -> None:
    dead = trial_store(budget=14, sampler=sampler)
    for _ in range(12):
        finish(dead, take_trial(dead))
    lost = take_trial(dead)
    die(dead)
    heir = trial_store(budget=14, sampler=sampler)
    heir.recover()
    again = take_trial(heir)
    assert again.point == lost.point
    finish(heir, again)
    assert take_trial(heir).point != lost.point


@pytest.mark.slow
def test_many_drivers_that_die_share_a_budget_exactly(
    trial_store: TrialStores, tmp_path: Path
) -> None:
    """Threads with a connection each, most of which leave trials behind as a killed driver does."""
    budget, errors = 20, []

    def work(number: int) -> None:
        chance = random.Random(number)
        try:
            while True:
                driver = trial_store(budget=budget, where=open_storage("sqlite", tmp_path))
                while True:
                    driver.recover()
                    taken = driver.take()
                    if taken is None:
                        trial_counts = driver.trial_counts()
                        if trial_counts.finished == budget:
                            return
                        time.sleep(0.02)
                    elif chance.random() < 0.3:
                        die(driver)
                        break
                    else:
                        finish(driver, taken)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert errors == []
    last = trial_store(budget=budget, where=open_storage("sqlite", tmp_path))
    assert len(complete(last)) == len(set(complete(last))) == budget
    # Some points were lost on the way.
    assert any(is_abandoned(trial) for trial in last.trials())
