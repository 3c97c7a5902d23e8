"""Storage of a study: an SQLite or journal file in the search's folder, or a database URL."""

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
SEARCH_PREFIX = "search."  # prefix of the definition's keys of space and goals
FRONTIER = "search.frontier."  # and of how finalists are found, which changes no trial
# Drivers that start together may all try to create the tables; all but one fail.
ATTEMPTS, PAUSE_SECONDS = 5, 0.5
LOCK_SECONDS = 60  # to wait for another writing process


def open_storage(where: str, folder: Path) -> BaseStorage:
    """Opens the storage, creating it if it does not exist.

    Args:
        where: sqlite or journal, or a URL that SQLAlchemy knows, such as
            "postgresql+psycopg://user@host/name".
        folder: folder of the search, used by sqlite and journal.

    Raises:
        UserError: it cannot be opened, or needs a package that is not installed.
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
    """Restores logging, because Optuna's migrations disable every existing logger."""
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
    """Loads the study, creating it if it does not exist.

    Its `definition` has texts by key that must be equal when a search is resumed.

    Raises:
        UserError: a study of that name has another definition; names the differences.
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
    _check_definition(study, definition)
    return study


def check_study(storage: BaseStorage, name: str, definition: Mapping[str, str]) -> None:
    """Checks that a study has this definition, if there is one of that name.

    Raises:
        UserError: it has another one; names the differences.
    """
    if name in optuna.get_all_study_names(storage):
        _check_definition(optuna.load_study(study_name=name, storage=storage), definition)


def _check_definition(study: optuna.Study, definition: Mapping[str, str]) -> None:
    """Checks the definition, which a study that came to nothing takes over."""
    before = study.user_attrs.get(DEFINITION, definition)  # there is none yet for a moment
    changed = [
        key
        for key in dict.fromkeys((*before, *definition))
        if before.get(key) != definition.get(key)
    ]
    only_fixed_settings = not any(
        key.startswith(SEARCH_PREFIX) and not key.startswith(FRONTIER) for key in changed
    )
    if changed and only_fixed_settings and _has_no_counted_trial(study):
        # A wrong setting shared by all of its trials has been fixed.
        study.set_user_attr(DEFINITION, dict(definition))
    elif changed:
        differences = [
            f"{key}: {before.get(key, 'absent')} before, {definition.get(key, 'absent')} now"
            for key in changed
        ]
        raise UserError(
            f"the search {study.study_name} was started with other settings: "
            f"{'; '.join(differences)}. Choose another search.name for the new one"
        )


def _has_no_counted_trial(study: optuna.Study) -> bool:
    """Whether no trial of a study is counted and finished, and all of its drivers are gone."""
    trials, drivers = study.get_trials(deepcopy=False), drivers_of(study).values()
    if any(is_counted(trial) and trial.state.is_finished() for trial in trials):
        return False
    # Without drivers it was created a moment ago.
    return bool(drivers) and not any(each.alive() for each in drivers)
