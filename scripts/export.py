"""Copies a run's model into a folder ready to upload: `python scripts/export.py RUN TARGET`."""

from __future__ import annotations

import shutil
from pathlib import Path

from compress.config.ending import Parser, one_line_ending
from compress.config.errors import UserError
from compress.records.schema import FILE, FinishedRun, read_record
from compress.store.artifact import folder_bytes
from compress.store.manifest import CARD, MANIFEST, read_manifest
from compress.store.run_folder import empty_folder


def export(run: Path, target: Path) -> Path:
    """Copies the model of a finished run, every file verified; returns the new folder.

    Raises:
        UserError: the run did not succeed, a file is damaged, or the target is not empty.
    """
    record = read_record(run / FILE) if (run / FILE).is_file() else None
    if isinstance(record, FinishedRun) and record.folds is not None:
        named = ", ".join(record.folds.folders)
        raise UserError(f"{run} has a model for each fold; export one of its folders {named}")
    if not isinstance(record, FinishedRun) or record.model is None:
        raise UserError(f"{run} is not a successful run; expected {FILE} and a model in it")
    source = run / record.model
    if target.resolve().is_relative_to(source.resolve()):
        raise UserError(f"{target} lies inside {source}, the folder to copy")
    names = [*read_manifest(source).files, MANIFEST]
    empty_folder(target, target.parent)
    for name in (*names, CARD) if (source / CARD).is_file() else names:
        shutil.copyfile(source / name, target / name)
    read_manifest(target)
    return target


@one_line_ending()
def main() -> None:
    """Exports one run."""
    parser = Parser(description=__doc__)
    parser.add_argument("run", type=Path, help="a run's folder, with metrics.json and model/")
    parser.add_argument("target", type=Path, help="a new folder")
    arguments = parser.parse_args()
    folder = export(arguments.run, arguments.target)
    print(f"{folder}: {folder_bytes(folder) / 1e6:.1f} MB to run, and a model card")  # noqa: T201


if __name__ == "__main__":
    main()
