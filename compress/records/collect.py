"""Finds the records below some folders."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from compress.config.errors import UserError
from compress.records.folds import FOLD_NAME
from compress.records.schema import FILE, FailedRun, FinishedRun, RunRecord, read_record

# Where scripts/rebench.py puts new records of a sweep's models. They are a sweep of their own, and
# count only where their folder, or one inside it, is asked for.
REBENCH = "rebench"
HYDRA = ".hydra"  # Hydra leaves this folder in every run's folder before the run begins


@dataclass(frozen=True)
class Collection:
    """What lies below the folders.

    Attributes:
        runs: folder and record of each run that wrote one, failed ones included.
        broken: for each record that cannot be read, why.
        unfinished: run folders without a record: still running, or killed.
    """

    runs: tuple[tuple[Path, RunRecord], ...]
    broken: tuple[str, ...]
    unfinished: tuple[Path, ...]

    @property
    def ok(self) -> list[tuple[Path, FinishedRun]]:
        """The runs with figures."""
        return [(folder, record) for folder, record in self.runs if record.status == "ok"]

    @property
    def infeasible(self) -> list[tuple[Path, FailedRun]]:
        """The runs that a search stopped because they would have broken a constraint."""
        return [(folder, record) for folder, record in self.runs if record.status == "infeasible"]

    @property
    def failed(self) -> list[tuple[Path, FailedRun]]:
        """The runs that ended with an error."""
        return [(folder, record) for folder, record in self.runs if record.status == "failed"]


def collect(folders: Iterable[Path]) -> Collection:
    """Reads every record below the folders, in the order of their names.

    Raises:
        UserError: a folder does not exist.
    """
    found: set[Path] = set()
    started: set[Path] = set()
    broken: list[str] = []

    def tell(error: OSError) -> None:
        broken.append(f"{error.filename} cannot be read: {error.strerror}")

    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder} is not a directory")
        for root, folders_here, files in os.walk(folder, onerror=tell):
            place, names = Path(root), {*folders_here, *files}
            if HYDRA in names:
                started.add(place)
            if (
                FILE in names
                and REBENCH not in place.relative_to(folder).parts
                and (place == folder or not _is_fold(place))
            ):
                found.add(place / FILE)
    runs = []
    for path in sorted(found, key=_natural):
        try:
            runs.append((path.parent, read_record(path)))
        except UserError as error:
            broken.append(" ".join(str(error).split()))
    unfinished = sorted(started - {path.parent for path in found}, key=_natural)
    return Collection(tuple(runs), tuple(broken), tuple(unfinished))


def _is_fold(folder: Path) -> bool:
    """Whether the folder is of a fold of a run, whatever became of the run.

    The run's own record tells of it; it counts as a run only where its folder is asked for.
    """
    run = folder.parent
    return FOLD_NAME.fullmatch(folder.name) is not None and any(
        (run / name).exists() for name in (FILE, HYDRA)
    )


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts run 10 after run 9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in path.parts]
