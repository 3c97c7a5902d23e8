"""Hydra callback that checks, marks and locks output folders before Hydra writes into them.

Hydra makes the output folder and writes `.hydra` into it before a run begins, so a folder that must
not be touched has to be refused earlier: in a callback.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from compress.config.compose import literal, texts_in
from compress.config.errors import UserError
from compress.store.run_folder import (
    RUN,
    SEARCH,
    SWEEP,
    check_clearable,
    check_usable,
    drop_unused,
    is_marked,
    is_own,
    locked_folder,
    new_folder,
    write_mark,
)

log = logging.getLogger(__name__)

# Keys that do not affect results: they may differ when a search is resumed, and may name folders
# to write to.
HOW = ("search", "cache", "tracker", "controls", "hydra")
NOW = "${now:"  # in a folder's name: the name depends on the time, and each run needs a new one


class LockFolders(Callback):
    """Creates, marks and locks the folder of a run or a sweep, or refuses it in one line."""

    def __init__(self) -> None:
        """Starts without locks."""
        self._locks = ExitStack()
        self._made: Path | None = None

    def __reduce__(self) -> tuple[type[LockFolders], tuple[()]]:
        """Pickles the callback without its locks, which belong to this process."""
        return LockFolders, ()

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra before it creates a run's folder.

        Raises:
            SystemExit: the folder holds other files, is in use, or contains inputs.
        """
        with _refusals("hydra.run.dir"):
            _check_output_subdir(config)
            folder, new = _folder(config, "run")
            if not new:
                check_usable(folder, RUN)
                check_inputs(config, folder)
            folder = _create(config, "run", folder, new)
            self._locks.enter_context(locked_folder(folder, RUN))
            check_clearable(folder)

    def on_run_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra."""
        self._locks.close()

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra before a sweep begins.

        Raises:
            SystemExit: the folder holds something other than a search to resume.
        """
        with _refusals("hydra.sweep.dir"):
            folder, new = _folder(config, "sweep")
            _check_subdir(config)
            _check_output_subdir(config)
            if config.get("search") is not None:
                check_usable(folder, SEARCH)
                check_inputs(config, folder)
                # Not locked: several drivers may work on one search.
                write_mark(self._sweep(config, folder, new), SEARCH)
                return
            if not new:
                check_usable(folder, SWEEP)
                if any(folder.rglob(RUN)):
                    raise UserError(
                        f"{folder} holds the runs of another sweep; choose a new or an empty folder"
                    )
            folder = self._sweep(config, folder, new)
            self._locks.enter_context(locked_folder(folder, SWEEP))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra."""
        if self._made is not None:
            drop_unused(self._made)
        self._locks.close()

    def _sweep(self, config: DictConfig, folder: Path, new: bool) -> Path:
        there = folder.exists() and not new
        folder = _create(config, "sweep", folder, new)
        self._made = None if there else folder
        return folder


@contextmanager
def own_folder() -> Iterator[Path]:
    """The folder of the current Hydra job, locked inside the block.

    Raises:
        UserError: it holds another run of the sweep, or files that no run has written.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    with ExitStack() as locks:
        if not is_own(folder, RUN):  # else it was locked before Hydra wrote into it
            try:
                _check_job(folder)
                locks.enter_context(locked_folder(folder, RUN))
            except UserError as error:
                # The run has no record, and the end of a sweep does not report it either.
                log.error("failed: %s", error)
                raise
        yield folder


def _check_job(folder: Path) -> None:
    """Checks a folder that Hydra has just created for a job."""
    hydra = HydraConfig.get()
    if hydra.mode == RunMode.MULTIRUN:
        if Path(hydra.sweep.dir).resolve() not in folder.resolve().parents:
            raise UserError(f"hydra.sweep.subdir must lie in the sweep's folder, got {folder}")
        if is_marked(folder, RUN):
            raise UserError(
                f"{folder} holds another run of this sweep; hydra.sweep.subdir must differ "
                "between runs"
            )
    # Hydra and the worker have written these already.
    written = {*(path.name for path in folder.glob("*.log")), str(hydra.output_subdir)}
    check_usable(folder, RUN, written)
    check_clearable(folder)


def shared_folder(folder: Path) -> Path:
    """The folder of the sweep that a run belongs to; its own if it runs alone."""
    hydra = HydraConfig.get()
    return folder if hydra.mode == RunMode.RUN else Path(hydra.sweep.dir)


def check_inputs(config: DictConfig, folder: Path) -> None:
    """Checks that no input named by a config lies in the output folder.

    Any text setting that is the path of an existing file or folder counts as an input.

    Raises:
        UserError: an input does; names the setting.
    """
    root = folder.resolve()
    for key, value in _texts(config):
        if _lies_in(value, root):
            raise UserError(
                f"{key}={value} lies in {folder}, the output folder; choose another folder"
            )


def check_cache(config: DictConfig, folder: Path) -> None:
    """Checks that the stage cache does not lie in the folder of one run.

    Raises:
        UserError: it does.
    """
    cache = OmegaConf.select(config, "cache.dir")
    if isinstance(cache, str) and Path(cache).resolve().is_relative_to(folder.resolve()):
        raise UserError(f"cache.dir={cache} lies in {folder}, the folder of one run")


def _lies_in(value: str, root: Path) -> bool:
    """Whether a text is the path of an existing file or folder below a folder."""
    if not value:
        return False
    try:
        return Path(value).exists() and Path(value).resolve().is_relative_to(root)
    except (OSError, ValueError):
        return False  # too long for a path, or with characters that no path can have


def _texts(config: DictConfig) -> Iterator[tuple[str, str]]:
    """Dotted key and value of every text setting that affects results."""
    for group in config:
        if group in HOW:
            continue
        try:
            part = OmegaConf.masked_copy(config, str(group))
            plain = OmegaConf.to_container(part, resolve=True)
        except OmegaConfBaseException:
            continue  # reported when the run is built
        yield from texts_in(plain)


def _check_subdir(config: DictConfig) -> None:
    """Refuses a sweep whose jobs would write outside its folder."""
    subdir = Path(_unresolved(config.hydra.sweep, "subdir"))
    if subdir.is_absolute() or ".." in subdir.parts or not subdir.parts:
        raise UserError(f"hydra.sweep.subdir must lie in the sweep's folder, got {subdir}")


def _check_output_subdir(config: DictConfig) -> None:
    """Refuses an output_subdir outside the run's folder, where Hydra writes its config."""
    subdir = config.hydra.output_subdir
    if subdir is not None and (Path(str(subdir)).name != subdir or subdir in ("", ".", "..")):
        raise UserError(
            f"hydra.output_subdir must name a folder inside the run's folder, got {subdir}"
        )


def _folder(config: DictConfig, kind: str) -> tuple[Path, bool]:
    """The folder that the config names, and whether its name depends on the time."""
    part = config.hydra[kind]
    return Path(str(part.dir)), NOW in _unresolved(part, "dir")


def _unresolved(part: DictConfig, key: str) -> str:
    """The text of a setting as it is written, with its interpolations."""
    return str(OmegaConf.to_container(part, resolve=False)[key])  # type: ignore[index,call-overload]


def _create(config: DictConfig, kind: str, folder: Path, new: bool) -> Path:
    """Creates the folder, under another name if another process has just created that one."""
    if new:
        folder = new_folder(folder)
    else:
        folder.mkdir(parents=True, exist_ok=True)
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra[kind].dir = str(folder)
        # Hydra composes the jobs of a sweep from these overrides, without the sweeper's settings: a
        # folder name that uses them, such as search.name, would change.
        config.hydra.overrides.hydra.append(f"hydra.{kind}.dir={literal(str(folder))}")
    return folder


@contextmanager
def _refusals(key: str) -> Iterator[None]:
    """Ends the program with one line: Hydra only warns about an Exception in a callback."""
    try:
        yield
    except UserError as error:
        raise SystemExit(f"error: {key}: {error}") from error
    except OSError as error:
        raise SystemExit(f"error: {key}: {error.filename}: {error.strerror}") from error
