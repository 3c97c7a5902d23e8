"""The files that reports have written into a folder: only these are ever replaced or deleted.

A list of their names lies beside them. A file of a report's name that is not on it is the user's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from compress.config.errors import UserError
from compress.system.files import write_atomically

LIST = ".compress-report"
# What a list can name: it may have come from elsewhere, with the folder.
NAMES = re.compile(
    r"results\.(csv|parquet|tex|md)|report\.html|pareto(-\d+-[a-z0-9_-]+)?\.(png|svg)"
)


@contextmanager
def replaced_files(folder: Path, names: Collection[str]) -> Iterator[None]:
    """Within it, files of these names are written; then they take an earlier report's place.

    Raises:
        UserError: a file of such a name exists and was not written by a report.
    """
    before = _listed(folder)
    foreign = sorted(name for name in set(names) - before if os.path.lexists(folder / name))
    if foreign:
        raise UserError(
            f"{folder / foreign[0]} was not written by a report and would be replaced; "
            "choose another folder (--out)"
        )
    # Those of both, so that none is forgotten if this ends early.
    _write(folder, {*before, *names})
    yield
    for name in before - set(names):
        (folder / name).unlink(missing_ok=True)
    _write(folder, names)


def _listed(folder: Path) -> set[str]:
    try:
        lines = (folder / LIST).read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, UnicodeDecodeError):
        return set()
    return {line for line in lines if NAMES.fullmatch(line)}


def _write(folder: Path, names: Collection[str]) -> None:
    write_atomically(folder / LIST, "".join(f"{name}\n" for name in sorted(names)))


def check_page(path: Path, title: str) -> None:
    """Checks that a page can be written to a file, before what is to be in it is computed.

    Raises:
        UserError: its folder does not exist, or the file exists and does not begin with the title.
    """
    if not path.parent.is_dir():
        raise UserError(f"{path.parent} is not a directory")
    if path.is_dir():
        raise UserError(f"{path} is a directory")
    if path.exists() and not path.read_bytes().startswith(title.encode()):
        raise UserError(f"{path} exists and is not such a page; choose another name")
