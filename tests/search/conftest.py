from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest
from optuna.storages import BaseStorage, InMemoryStorage

from compress.search.driver_process import DriverProcess
from compress.search.grammar import parse_space
from compress.search.sampler import SamplerSettings
from compress.search.storage import open_study
from compress.search.trial_store import TrialStore
from tests.search.trial_stores import GOALS, WIDE, TrialStores


@pytest.fixture(autouse=True)
def _no_leftovers() -> Iterator[None]:
    yield
    assert not [p for p in psutil.Process().children() if p.status() == psutil.STATUS_STOPPED]


@pytest.fixture
def storage() -> BaseStorage:
    return InMemoryStorage()


@pytest.fixture
def trial_store(storage: BaseStorage) -> TrialStores:
    """TrialStores of one study, each of a driver of its own."""

    def make(
        space: dict[str, object] = WIDE,
        budget: int = 5,
        sampler: str = "random",
        where: BaseStorage = storage,
        seeds: tuple[dict[str, object], ...] = (),
        driver: DriverProcess | None = None,
    ) -> TrialStore:
        made = SamplerSettings(name=sampler, seed=0, options={}).make()
        study = open_study(where, "test", GOALS, made, {"space": str(space)})
        points = parse_space(space)
        found = TrialStore(
            study,
            points,
            GOALS,
            budget,
            driver or DriverProcess.current(),
            made,
            seeds=tuple(points.parse_point(values) for values in seeds),
            grid=sampler == "grid",
        )
        found.send_heartbeat()
        return found

    return make
