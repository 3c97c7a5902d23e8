"""What tests of the trial store share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from optuna.trial import TrialState

from compress.analysis.goals import parse_goals
from compress.search.space import point_key
from compress.search.trial_store import TrialStore
from compress.search.trials import POINT, TakenTrial
from tests.search.records import record_of

GOALS = parse_goals(
    {"accuracy": "maximize", "size_bytes": "minimize"},
    {"accuracy": ">= 0.5 * baseline"},
    "validation",
)
WIDE = {"a.x": "interval(0.0, 1.0)", "b": "choice(one, two)"}
NARROW = {"b": "choice(one, two)", "c": "choice(1, 2, 3)"}
NOBODY = 2**22 + 1  # above the largest process number of any system
TrialStores = Callable[..., TrialStore]


def die(trial_store: TrialStore) -> None:
    """Has the driver of a trial store be a process that is gone."""
    trial_store.driver = replace(trial_store.driver, pid=NOBODY)
    trial_store._sign()


def finish(trial_store: TrialStore, taken: TakenTrial) -> None:
    trial_store.finish(taken, record_of(), Path("folder"))


def take_trial(trial_store: TrialStore) -> TakenTrial:
    taken = trial_store.take()
    assert taken is not None
    return taken


def complete(trial_store: TrialStore) -> list[str]:
    states = (TrialState.COMPLETE,)
    return [point_key(t.user_attrs[POINT]) for t in trial_store.trials() if t.state in states]
