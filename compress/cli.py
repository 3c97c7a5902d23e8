"""The command line: checked, prepared for Hydra, and run."""

from __future__ import annotations

import datetime
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MethodType
from typing import Literal

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, Override, RangeSweep
from hydra.core.plugins import Plugins
from hydra.errors import HydraException

from compress.config.compose import CONF
from compress.config.construct import TRUSTED_TARGETS
from compress.config.credentials import check_words
from compress.config.ending import Parser, mistake, one_line_ending
from compress.config.errors import ConfigError, UserError
from compress.experiment.sweeper import RowsSweeper
from compress.frontier.sweeper import FrontierSweeper
from compress.job import run_job
from compress.search.sweeper import ParetoSweeper
from compress.store.run_folder import new_folder

execute = hydra.main(
    config_path=str(CONF), config_name="config", execution_whitelist=TRUSTED_TARGETS
)(run_job)


def main() -> None:
    """Entry point: a user error prints one line and exits with 1; a traceback means a bug."""
    with one_line_ending(), arguments_of(sys.argv[1:]):
        execute()


def call(mode: Literal["run", "sweep"], overrides: Sequence[str]) -> Path:
    """Runs the command line in this process; returns the output folder.

    Global state is restored afterwards: the root logger's handlers, the environment, `sys.argv`.

    Args:
        mode: a run, or a sweep (`-m`).
        overrides: as on the command line. A new folder is created unless they name one.

    Raises:
        UserError: the message that the command line would print.
    """
    words = _checked(overrides)
    with _restored_globals(), _main_hidden():
        folder = _named_folder(mode, words)
        made = folder is None
        if folder is None:
            now = datetime.datetime.now()
            folder = new_folder(Path(f"outputs/{mode}s/{now:%Y-%m-%d}/{now:%H-%M-%S}"))
            words.append(f"hydra.{mode}.dir={folder}")
        try:
            with arguments_of([*(["-m"] if mode == "sweep" else []), *words]):
                execute()
        except SystemExit as ended:
            # An integer code means that runs of a sweep failed; their records contain the reasons.
            if isinstance(ended.code, str):
                raise UserError(ended.code.removeprefix("error: ")) from ended
        except Exception as error:
            if (message := mistake(error)) is None:
                raise
            raise UserError(message) from error
        finally:
            if made and not any(folder.iterdir()):
                folder.rmdir()
    return folder


def _checked(overrides: Sequence[str]) -> list[str]:
    """The overrides as a list of strings.

    Raises:
        ConfigError: they are not strings, or contain an option.
    """
    listed = isinstance(overrides, Iterable) and not isinstance(overrides, str | Mapping)
    words = list(overrides) if listed else []
    if not listed or not all(isinstance(word, str) for word in words):
        raise ConfigError(f"overrides must be a list of strings, got {overrides!r}")
    if options := [word for word in words if word.startswith("-")]:
        raise ConfigError(f"overrides must be key=value settings, got the option {options[0]}")
    return words


def _named_folder(mode: str, words: list[str]) -> Path | None:
    """The folder that overrides name; None if they name none.

    Raises:
        ConfigError: it contains an interpolation, which cannot be resolved here.
    """
    named = None
    for override in _parsed(words):
        if override.key_or_group == f"hydra.{mode}.dir":
            named = str(override.value())
            if "${" in named:
                raise ConfigError(f"hydra.{mode}.dir must be a path without ${{…}}, got {named}")
    return None if named is None else Path(named)


@contextmanager
def _restored_globals() -> Iterator[None]:
    handlers, level = list(logging.root.handlers), logging.root.level
    shows, full = logging.raiseExceptions, os.environ.get("HYDRA_FULL_ERROR")
    try:
        yield
    finally:
        for added in set(logging.root.handlers) - set(handlers):
            added.close()
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
        logging.raiseExceptions = shows
        if full is None:
            os.environ.pop("HYDRA_FULL_ERROR", None)


@contextmanager
def _main_hidden() -> Iterator[None]:
    """Keeps child processes inside the block from running the caller's script again.

    multiprocessing imports the main module in every process that it starts. A script that calls
    `compress.run` without `if __name__ == "__main__":` would run itself.
    """
    main = vars(sys.modules["__main__"])
    kept = {name: main.pop(name) for name in ("__file__",) if name in main}
    spec, main["__spec__"] = main.get("__spec__"), None
    try:
        yield
    finally:
        main.update(kept)
        main["__spec__"] = spec


@contextmanager
def arguments_of(words: Sequence[str]) -> Iterator[None]:
    """Sets checked and prepared arguments in `sys.argv` inside the block.

    Raises:
        ConfigError: an argument is invalid, or contains a password.
    """
    before = sys.argv
    program = (before or ["compress"])[:1]
    for word in words:
        check_words(word)
    sys.argv = program
    try:
        check_arguments(list(words))
    finally:
        sys.argv = before
    # Makes Hydra raise instead of printing its own message of several lines.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    # A failed write to the log must not print tracebacks or end a run.
    logging.raiseExceptions = False
    # Hydra finds only its own plugins.
    for sweeper in (ParetoSweeper, RowsSweeper, FrontierSweeper):
        Plugins.instance().register(sweeper)
    sys.argv = [*program, *cross_choices(list(words))]
    try:
        yield
    finally:
        sys.argv = before


def check_arguments(arguments: list[str]) -> None:
    """Checks what Hydra would take, or would refuse with more than a line.

    Raises:
        ConfigError: an argument is not valid text, an option or a choice does not exist, or a
            sweep is empty.
    """
    for argument in arguments:
        if not argument.isprintable() and any("\ud800" <= each <= "\udfff" for each in argument):
            raise ConfigError(f"the argument {argument!a} is not valid UTF-8")
    parser = get_args_parser()
    parser.error = MethodType(Parser.error, parser)  # type: ignore[method-assign]
    words = parser.parse_intermixed_args(arguments).overrides
    for override in _parsed(words):
        _check_choice(override)
        _check_sweep(override)


def cross_choices(arguments: list[str]) -> list[str]:
    """Makes `-m pruner=wanda,magnitude pruner.sparsity=0.5` work, for groups in groups too.

    Hydra first composes a base config with the default choice of each swept group, and refuses a
    key that only the swept choices have. As a sweep of one value, `key=choice(value)`, it is
    applied only to the jobs. null, which no sweep can have, is set whether there is a key or not.
    """
    words = [word for word in arguments if not word.startswith("-")]
    parsed = _parsed(words)
    groups = (each.key_or_group for each in parsed if each.is_sweep_override())
    swept = tuple(f"{group.replace('/', '.')}." for group in groups)
    waiting = {}
    for override in parsed:
        fixed = not (override.is_sweep_override() or override.is_delete())
        inside = override.key_or_group.startswith(swept)
        if fixed and inside and override.input_line is not None:
            key, _, value = override.input_line.partition("=")
            null = override.value() is None
            once = f"{key}=choice({value})"
            waiting[override.input_line] = f"++{key.lstrip('+')}=null" if null else once
    return [waiting.get(word, word) for word in arguments]


def _parsed(words: list[str]) -> list[Override]:
    try:
        return OverridesParser.create().parse_overrides(words)
    except HydraException:
        return []  # Hydra reports the error next


def _check_choice(override: Override) -> None:
    """Refuses choices that are not names, for which Hydra's message lacks the group."""
    group = override.key_or_group
    if not (CONF / group).is_dir() or override.is_delete():
        return
    value = override.value()
    if isinstance(value, Glob | RangeSweep | IntervalSweep):
        return
    values = value.list if isinstance(value, ChoiceSweep) else [value]
    if not all(isinstance(each, str | list) for each in values):
        allowed = ", ".join(_choices(group))
        raise ConfigError(f"{group} must be one of {allowed}; got {override.input_line}")


def _check_sweep(override: Override) -> None:
    """Refuses an empty sweep, which would run nothing and report no failure."""
    swept = override.value() if override.is_sweep_override() else None
    empty = isinstance(swept, RangeSweep) and not list(swept.range())
    if isinstance(swept, Glob):
        empty = not swept.filter(_choices(override.key_or_group))
    if empty:
        raise ConfigError(f"{override.input_line} is an empty sweep")


def _choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))
