"""Where a study lives: an SQLite or a journal file in the search's folder, or a database's URL."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from logging import Logger
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.exc import SQLAlchemyError

from compress.analysis.goals import Goals
from compress.config.credentials import scrub
from compress.config.errors import UserError
from compress.search.driver_process import drivers_of
from compress.search.sampler import PerTrialSampler
from compress.search.trials import is_counted
from compress.system.files import new_sqlite_url

SQLITE, JOURNAL = "sqlite", "journal"
DEFINITION = "definition"
SEARCH_PREFIX = "search."  # begins the keys of a definition that say what is searched, and what for
# Drivers that start together all find no tables and make them; all but one fail at that.
ATTEMPTS, PAUSE_SECONDS = 5, 0.5
LOCK_SECONDS = 60  # to wait for another process that writes


def open_storage(where: str, folder: Path) -> BaseStorage:
    """The storage, made if it is not there.

    Args:
        where: sqlite or journal, or a URL that SQLAlchemy knows, such as
            "postgresql+psycopg://user@host/name".
        folder: of the search, for the first two.

    Raises:
        UserError: it cannot be reached, or needs a package that is not installed.
    """
    if where == JOURNAL:
        return JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    if where != SQLITE and "://" not in where:
        raise UserError(
            f"search.storage must be {SQLITE}, {JOURNAL} or a URL such as "
            f"postgresql+psycopg://user@host/name, got {scrub(where)}"
        )
    url = new_sqlite_url(folder / "study.db") if where == SQLITE else where
    options: dict[str, Any] = {"pool_pre_ping": True}
    if url.startswith("sqlite"):
        options = {"connect_args": {"timeout": LOCK_SECONDS}}
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with _preserved_logging():
                return RDBStorage(url, engine_kwargs=options)
        except ImportError as error:
            raise UserError(f"search.storage={scrub(url)} needs a package: {error}") from error
        except (SQLAlchemyError, ValueError) as error:
            if attempt == ATTEMPTS:
                words = f"search.storage={where} cannot be opened: {' '.join(str(error).split())}"
                raise UserError(scrub(words)) from error
            time.sleep(PAUSE_SECONDS)
    raise AssertionError("the last attempt returns or raises")


@contextmanager
def _preserved_logging() -> Iterator[None]:
    """Undoes what Optuna's migrations do to logging: they disable every logger that there is."""
    known = [each for each in logging.root.manager.loggerDict.values() if isinstance(each, Logger)]
    enabled = [each for each in known if not each.disabled]
    handlers, level = list(logging.root.handlers), logging.root.level
    try:
        yield
    finally:
        for each in enabled:
            each.disabled = False
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)


def open_study(
    storage: BaseStorage,
    name: str,
    goals: Goals,
    sampler: PerTrialSampler,
    definition: Mapping[str, str],
) -> optuna.Study:
    """The study of that name, made if there is none.

    Args:
        storage: where it lives.
        name: of the search.
        goals: for the directions of its objectives.
        sampler: draws its points.
        definition: what makes two searches the same one, in words.

    Raises:
        UserError: there is one of that name that is defined otherwise; says how.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study = optuna.create_study(
            study_name=name,
            storage=storage,
            sampler=sampler,
            directions=list(goals.objectives.values()),
            load_if_exists=True,
        )
        if DEFINITION not in study.user_attrs:
            study.set_metric_names(list(goals.objectives))
            study.set_user_attr(DEFINITION, dict(definition))
    before = study.user_attrs[DEFINITION]
    if (
        before != dict(definition)
        and _has_same_space(before, definition)
        and _has_no_counted_trial(study)
    ):
        # A setting was wrong in all of its trials, and is right now.
        study.set_user_attr(DEFINITION, dict(definition))
    check_definition(name, study.user_attrs[DEFINITION], definition)
    return study


def _has_same_space(before: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Whether two definitions differ in fixed settings alone: their points are of one space."""
    searched = [
        {key: words for key, words in each.items() if key.startswith(SEARCH_PREFIX)}
        for each in (before, now)
    ]
    return searched[0] == searched[1]


def _has_no_counted_trial(study: optuna.Study) -> bool:
    """Whether a study was begun, and left with no trial that counts."""
    trials = study.get_trials(deepcopy=False)
    if not trials or any(is_counted(trial) and trial.state.is_finished() for trial in trials):
        return False
    return not any(each.alive() for each in drivers_of(study.user_attrs).values())


def check_definition(name: str, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Checks that a study is carried on with what it was begun with.

    Raises:
        UserError: it is not; every difference is named.
    """
    differences = [
        f"{key}: {before.get(key, 'absent')} before, {now.get(key, 'absent')} now"
        for key in dict.fromkeys((*before, *now))
        if before.get(key) != now.get(key)
    ]
    if differences:
        raise UserError(
            f"the search {name} was started with other settings: {'; '.join(differences)}. "
            "Choose another search.name for the new one"
        )
