"""The folders of runs, sweeps and searches: created, marked, locked while in use, and cleared.

The folder of a run, a sweep or a search contains a mark, a hidden file; a nonempty folder without
one is refused. When a folder is reused, only files that a run is known to have written are deleted:
its record, and the model files that a manifest lists. The mark is locked while a process uses the
folder.
"""

from __future__ import annotations

import datetime
import itertools
import logging
import os
import platform
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from compress.config.errors import UserError
from compress.records.folds import FOLD_NAME
from compress.records.schema import FILE, read_record
from compress.system.files import TEMPORARY, is_locked, try_lock

RUN, FOLD, SWEEP, SEARCH = (f".compress-{kind}" for kind in ("run", "fold", "sweep", "search"))
MODEL_FOLDER = "model"
FLIPS = "flips.csv"  # rows that only model or teacher has right
FOLD_FOLDER = "fold-{}"
NAMED = 3  # file names in an error message

log = logging.getLogger(__name__)


def new_folder(folder: Path) -> Path:
    """Creates a folder, with `-2`, `-3`, … appended to its name if it exists."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        made = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        with suppress(FileExistsError):
            made.mkdir()
            return made
    raise AssertionError("counting does not end")


def empty_folder(folder: Path | None, parent: Path) -> Path:
    """Creates the output folder of a script, or accepts an empty one.

    Without `folder`, a new one is named by the time in `parent`.

    Raises:
        UserError: it is not empty.
    """
    if folder is None:
        return new_folder(parent / f"{datetime.datetime.now():%Y-%m-%d_%H-%M-%S}")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is not a directory")
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise UserError(f"{folder} is not empty")
    return folder


def check_usable(folder: Path, mark: str, written: Collection[str] = ()) -> None:
    """Checks that a folder is absent, has the mark, or is empty but for the names in `written`.

    Raises:
        UserError: it is something else.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is not a directory")
    if not folder.exists() or is_marked(folder, mark):
        return
    foreign = [path.name for path in folder.iterdir() if path.name not in written]
    # Checked again: another process may have just started to use it.
    if foreign and not is_marked(folder, mark):
        kind = mark.rpartition("-")[2]
        raise UserError(
            f"{folder} is not the folder of a {kind} and holds {_listed(foreign)}; "
            "choose a new or an empty folder"
        )


def is_marked(folder: Path, mark: str) -> bool:
    """Whether a folder contains the mark."""
    return (folder / mark).is_file() and not (folder / mark).is_symlink()


def write_mark(folder: Path, mark: str) -> None:
    """Marks an existing folder."""
    (folder / mark).touch()


@contextmanager
def locked_folder(folder: Path, mark: str) -> Iterator[None]:
    """Locks an existing folder against other processes inside the block, and marks it.

    Raises:
        UserError: another process uses it.
    """
    descriptor = os.open(folder / mark, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        _lock(descriptor, folder)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, _signature().encode())
        yield
    finally:
        os.close(descriptor)


def is_own(folder: Path, mark: str) -> bool:
    """Whether this process has locked the folder."""
    if not is_marked(folder, mark):
        return False
    return (folder / mark).read_text() == _signature() and is_locked(folder / mark)


def holds_result(folder: Path) -> bool:
    """Whether the folder has the record of a successful run."""
    try:
        return read_record(folder / FILE).status == "ok"
    except (OSError, UserError):
        return False


def drop_unused(folder: Path) -> None:
    """Deletes the folder of a sweep in which no run has started."""
    names = {path.name for path in folder.iterdir()}
    if names <= {SWEEP, SEARCH}:
        for name in names:
            (folder / name).unlink()
        folder.rmdir()


def check_clearable(folder: Path) -> None:
    """Checks that a run's folder can be reused.

    Raises:
        UserError: its model folder holds files that no run has written.
    """
    for each in (folder, *_folds(folder)):
        if os.path.lexists(each / MODEL_FOLDER):
            written_files(each / MODEL_FOLDER)


def clear_run(folder: Path) -> None:
    """Deletes records, flips and models of an earlier run and of its folds; keeps all other files.

    Raises:
        UserError: a model folder holds files that no run has written. Nothing is deleted then.
    """
    check_clearable(folder)
    for each in (folder, *_folds(folder)):
        (each / FILE).unlink(missing_ok=True)
        (each / FLIPS).unlink(missing_ok=True)
        delete_model(each / MODEL_FOLDER)
        delete_temporaries(each)
    for fold in _folds(folder):
        if [path.name for path in fold.iterdir()] == [FOLD]:
            (fold / FOLD).unlink()
            fold.rmdir()


def make_fold(folder: Path, number: int) -> Path:
    """Creates the folder of a fold in a run's folder.

    Raises:
        UserError: the name is taken by something else.
    """
    fold = folder / FOLD_FOLDER.format(number)
    check_usable(fold, FOLD)
    fold.mkdir(exist_ok=True)
    write_mark(fold, FOLD)
    return fold


def written_files(folder: Path) -> list[Path]:
    """The files of a model folder that a run wrote, the manifest last.

    Raises:
        UserError: it is a link, has no manifest, or holds other files too.
    """
    # Imported here: it imports torch, and most new runs have no model to check.
    from pydantic import TypeAdapter, ValidationError

    from compress.serve.folder import MANIFEST, TOLD, Manifest, file_name

    if folder.is_symlink() or not folder.is_dir():
        raise UserError(f"{folder} is not a directory written by a run; move it away")
    try:
        manifest = TypeAdapter(Manifest).validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError) as error:
        raise UserError(f"{folder} is not a model written by a run; move it away") from error
    known = {*manifest.files, *TOLD}
    paths = [path for path in folder.iterdir() if not TEMPORARY.fullmatch(path.name)]
    for inner in _inner(folder):
        paths = [path for path in paths if path != inner] + [*inner.iterdir()]
    found = {file_name(folder, path): path for path in paths}
    foreign = {name for name, path in found.items() if name not in known or path.is_dir()}
    if foreign:
        raise UserError(f"{folder} holds {_listed(foreign)}, not written by a run; move it away")
    return sorted(found.values(), key=lambda path: path.name == MANIFEST)


def delete_model(folder: Path) -> None:
    """Deletes a model folder that a run wrote, if there is one.

    Raises:
        UserError: see `written_files`. Nothing is deleted then.
    """
    if not os.path.lexists(folder):
        return
    for path in written_files(folder):
        path.unlink()
    for inner in _inner(folder):
        inner.rmdir()
    delete_temporaries(folder)
    folder.rmdir()


def _inner(folder: Path) -> list[Path]:
    """The folders in a model folder that a run writes; a link is not one."""
    from compress.serve.folder import inner_folders

    return [path for path in inner_folders(folder) if not path.is_symlink()]


def delete_temporaries(folder: Path) -> None:
    """Deletes unfinished files of killed processes directly in a folder."""
    for path in folder.iterdir():
        if TEMPORARY.fullmatch(path.name) and not is_locked(path):
            delete_tree(path)


def delete_tree(path: Path) -> None:
    """Deletes a file, a folder, or a link without its target."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _folds(folder: Path) -> list[Path]:
    return [
        path
        for path in sorted(folder.glob(FOLD_FOLDER.format("*")))
        if FOLD_NAME.fullmatch(path.name) and not path.is_symlink() and is_marked(path, FOLD)
    ]


def _lock(descriptor: int, folder: Path) -> None:
    try:
        free = try_lock(descriptor)
    except OSError as error:
        log.warning("%s cannot be locked against other runs: %s", folder, error)
        return
    if not free:
        holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
        raise UserError(
            f"{folder} is in use by another run ({holder or 'just started'}); "
            "choose another folder, or wait until it ends"
        )


def _signature() -> str:
    return f"process {os.getpid()} on {platform.node()}\n"


def _listed(names: Collection[str]) -> str:
    shown = ", ".join(sorted(names)[:NAMED])
    return f"{shown} and {len(names) - NAMED} more" if len(names) > NAMED else shown
