from __future__ import annotations

import logging
from pathlib import Path

import optuna
import pytest
from optuna.storages import InMemoryStorage

from compress.config.errors import UserError
from compress.search.space import point_key
from compress.search.storage import open_storage
from compress.search.trial_store import DRAWS
from compress.search.trials import POINT, REJECTED, VOID
from tests.search.records import record_of
from tests.search.trial_stores import NARROW, WIDE, TrialStores, complete, finish, take_trial


def test_the_budget_is_shared_between_drivers(trial_store: TrialStores) -> None:
    one, two = trial_store(), trial_store()
    taken_trials = [take_trial(driver) for driver in (one, two, two, one, two)]
    assert one.take() is None
    assert two.take() is None
    assert len({point_key(taken.point) for taken in taken_trials}) == 5
    for taken in taken_trials:
        finish(one, taken)
    assert one.trial_counts().complete == one.trial_counts().finished == 5
    assert one.take() is None


def test_a_larger_budget_carries_on(trial_store: TrialStores) -> None:
    first = trial_store(budget=2)
    for _ in range(2):
        finish(first, take_trial(first))
    later = trial_store(budget=3)
    finish(later, take_trial(later))
    assert later.take() is None
    assert later.trial_counts().complete == 3


@pytest.mark.parametrize("sampler", ["random", "tpe", "grid", "nsgaii", "qmc"])
def test_no_point_is_run_twice_and_a_small_space_ends(
    trial_store: TrialStores, sampler: str
) -> None:
    driver = trial_store(NARROW, budget=50, sampler=sampler)
    while (taken := driver.take()) is not None:
        finish(driver, taken)
    assert len(complete(driver)) == len(set(complete(driver))) == 6


def test_a_grid_is_in_order(trial_store: TrialStores) -> None:
    driver = trial_store(NARROW, budget=3, sampler="grid")
    points = []
    while (taken := driver.take()) is not None:
        points.append(dict(taken.point))
        finish(driver, taken)
    assert points == [{"b": "one", "c": c} for c in ("1", "2", "3")]


def test_what_failed_by_itself_is_not_run_again(trial_store: TrialStores) -> None:
    driver = trial_store({"b": "choice(one, two)"}, budget=5)
    driver.fail(take_trial(driver), "broken")
    finish(driver, take_trial(driver))
    assert driver.take() is None
    trial_counts = driver.trial_counts()
    assert (trial_counts.failed, trial_counts.complete, trial_counts.finished) == (1, 1, 2)


def test_what_is_rejected_is_infeasible(trial_store: TrialStores) -> None:
    driver = trial_store(budget=1)
    driver.reject(take_trial(driver), {"size_bytes <= 3": 0.5}, "too large")
    assert driver.trial_counts().infeasible == driver.trial_counts().finished == 1
    [trial] = driver.trials()
    assert trial.constraints == {"size_bytes <= 3": 0.5}
    assert trial.user_attrs[REJECTED] == "too large"


def test_a_finished_trial_keeps_its_record_and_its_excess(trial_store: TrialStores) -> None:
    driver = trial_store(budget=1)
    driver.finish(take_trial(driver), record_of(validation=0.2), Path("there"))
    [trial] = driver.trials()
    assert trial.values == [0.2, 100]
    assert trial.user_attrs["folder"] == "there"
    assert trial.user_attrs["record"]["metrics"]["size_bytes"] == 100
    assert trial.constraints == {"accuracy >= 0.5 * baseline": 0.5}
    assert driver.study.best_trials == []


def test_seed_points_come_first_and_once(trial_store: TrialStores) -> None:
    seeds = ({"a.x": 0.25, "b": "two"}, {"a.x": 0.75, "b": "one"})
    first = trial_store(budget=3, seeds=seeds)
    finish(first, take_trial(first))
    second = trial_store(budget=3, seeds=seeds)
    finish(second, take_trial(second))
    finish(second, take_trial(second))
    points = [trial.user_attrs[POINT] for trial in second.trials()]
    assert points[:2] == list(seeds)
    assert points[2] not in seeds
    with pytest.raises(UserError, match="must be in choice"):
        trial_store(seeds=({"a.x": 0.25, "b": "three"},))


def test_a_restart_draws_other_points_and_the_same_search_the_same(
    trial_store: TrialStores,
) -> None:
    def points(budgets: tuple[int, ...]) -> list[str]:
        where = InMemoryStorage()
        for budget in budgets:
            driver = trial_store(budget=budget, sampler="tpe", where=where)
            while (taken := driver.take()) is not None:
                finish(driver, taken)
        return complete(driver)

    whole, stopped = points((14,)), points((5, 14))
    assert len(set(whole)) == 14
    # Draws depend on seed, number and history, not on when the process began.
    assert stopped == whole


@pytest.mark.parametrize(("space", "budget"), [(NARROW, 3), (WIDE, 4)])
def test_a_sampler_that_is_stuck_is_helped_out(
    space: dict[str, object], budget: int, trial_store: TrialStores
) -> None:
    class Stuck(optuna.samplers.RandomSampler):
        def sample_independent(self, *arguments: object) -> object:
            return arguments[3].to_external_repr(0.0)  # type: ignore[attr-defined]

    driver = trial_store(space, budget=budget)
    driver.sampler._make = lambda seed: Stuck(seed)
    for _ in range(budget):
        finish(driver, take_trial(driver))
    assert len(set(complete(driver))) == budget
    assert sum(VOID in trial.user_attrs for trial in driver.trials()) == (budget - 1) * DRAWS
    if space == NARROW:
        # As near as can be to what it wants: (one, 1).
        assert all("one" in point or '"1"' in point for point in complete(driver))


def test_another_definition_is_refused_with_the_difference(trial_store: TrialStores) -> None:
    trial_store(WIDE)
    with pytest.raises(UserError, match=r"space: .*interval.* before, .*choice.* now"):
        trial_store(NARROW)


@pytest.mark.parametrize("where", ["sqlite", "journal"])
def test_files_keep_a_study(trial_store: TrialStores, tmp_path: Path, where: str) -> None:
    driver = trial_store(where=open_storage(where, tmp_path))
    finish(driver, take_trial(driver))
    assert trial_store(where=open_storage(where, tmp_path)).trial_counts().complete == 1


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


def test_opening_a_database_leaves_logging_as_it_was(tmp_path: Path) -> None:
    logger, handlers = logging.getLogger("compress.search.trial_store"), list(logging.root.handlers)
    open_storage("sqlite", tmp_path)
    assert not logger.disabled
    assert logging.root.handlers == handlers
