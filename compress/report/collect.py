"""Finds the records below some folders."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from compress.records import FILE, RunRecord, read_record
from compress.run_folder import FOLD_NAME
from compress.settings import UserError

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
    def ok(self) -> list[tuple[Path, RunRecord]]:
        """The runs that bear figures."""
        return [(folder, record) for folder, record in self.runs if record.status == "ok"]

    @property
    def infeasible(self) -> list[tuple[Path, RunRecord]]:
        """The runs that a search did not finish because they would have broken a constraint."""
        return [(folder, record) for folder, record in self.runs if record.status == "infeasible"]

    @property
    def failed(self) -> list[tuple[Path, RunRecord]]:
        """The runs that say why they have none."""
        return [(folder, record) for folder, record in self.runs if record.status == "failed"]


def collect(folders: Iterable[Path]) -> Collection:
    """Reads every record below the folders, in the order of their names.

    Raises:
        UserError: a folder does not exist.
    """
    found: set[Path] = set()
    started: set[Path] = set()
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder} is no folder")
        paths = folder.rglob(FILE)
        found |= {
            path
            for path in paths
            if REBENCH not in path.relative_to(folder).parts
            and (path.parent == folder or not _is_fold(path.parent))
        }
        started |= {path.parent for path in folder.rglob(HYDRA)}
    runs, broken = [], []
    for path in sorted(found, key=_natural):
        try:
            runs.append((path.parent, read_record(path)))
        except UserError as error:
            broken.append(str(error))
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
