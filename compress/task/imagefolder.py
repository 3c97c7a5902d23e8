"""Custom image datasets: one folder for each class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import final

import pandas as pd
from pydantic.dataclasses import dataclass

from compress.config.errors import UserError
from compress.interfaces import TaskData
from compress.task.components.delimited import is_unicode, listed
from compress.task.components.folds import FoldedTask
from compress.task.components.image import IMAGE, ImageTask
from compress.task.components.picture import ImageFile
from compress.task.components.sampling import LABEL
from compress.task.components.splits import FoldedSplit

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm")
FOLDERS = {"train": "train", "test": "evaluation", "validation": "validation"}


@final
@dataclass(frozen=True, kw_only=True)
class ImageFolder(FoldedTask, ImageTask):
    """Image classification on class folders; a folder's name is the class name.

    Every image is read once when the task is loaded, so that a damaged one is named before
    anything is trained. Names that begin with a dot are passed over.

    Attributes:
        path: a folder of class folders; or, without folds, a folder with `train`, `test` and
            optionally `validation`, each a folder of class folders.
        split: fractions of the train images, where there is no `validation` or `test` folder.
    """

    path: str
    split: FoldedSplit

    def check(self) -> None:
        """Raises a UserError if there are fewer than two classes, or a file is not an image."""
        names = self.class_names()
        for folder in self._folders().values():
            stray = [file for file in folder.glob("*.*") if file.suffix.lower() in SUFFIXES]
            if stray:
                raise UserError(f"{min(stray)} is in no class folder")
            for name in _inner(folder):
                if name not in names:
                    raise UserError(
                        f"{folder / name}: no train image is of this class; expected "
                        f"{listed(names)}"
                    )
                for file in _files(folder / name):
                    if file.suffix.lower() not in SUFFIXES:
                        raise UserError(f"{file} is not an image; expected {', '.join(SUFFIXES)}")

    def class_names(self) -> tuple[str, ...]:
        """The sorted names of the train class folders; a UserError if one is empty or alone."""
        folder = self._folders()["train"]
        names = tuple(_inner(folder))
        if len(names) < 2:
            raise UserError(
                f"{folder} has {len(names)} class folders, expected at least two, with images in "
                "them"
            )
        for name in names:
            if not is_unicode(name):
                raise UserError(f"{folder}: the folder name {listed([name])} is not UTF-8")
            if next(_files(folder / name), None) is None:
                raise UserError(f"{folder / name} has no images")
        return names

    def load(self) -> TaskData:
        """Reads the images, and splits off the splits without a folder."""
        names, folders = self.class_names(), self._folders()
        splits = {role: (folder.name, _rows(folder, names)) for role, folder in folders.items()}
        if any(rows.empty for _, rows in splits.values()):
            raise UserError(f"{self.path}: test and validation folders must not be without images")
        missing = {role: at for role, at in self.split.shares.items() if role not in folders}
        splits |= self.split_off(self.path, *splits["train"], missing, names)
        return self.assemble(splits, self.problem(), f"the image folder {Path(self.path).name}")

    def _folders(self) -> dict[str, Path]:
        whole = Path(self.path)
        if not whole.is_dir():
            raise UserError(f"task.path: {whole} is not a directory")
        found = set(_inner(whole))
        if not found & set(FOLDERS):
            return {"train": whole}
        if not {"train", "test"} <= found <= set(FOLDERS):
            raise UserError(
                f"{whole} has the folders {listed(sorted(found))}; expected train and "
                "test, and validation if there is one, or folders of classes alone"
            )
        if self.split.folds is not None:
            raise UserError(
                f"task.split.folds={self.split.folds}: {whole} has a test folder, and there can be "
                "no folds; expected folders of classes alone"
            )
        return {role: whole / name for name, role in FOLDERS.items() if name in found}


def _inner(folder: Path) -> list[str]:
    """Names of subfolders, sorted."""
    found = (each for each in folder.iterdir() if each.is_dir())
    return sorted(each.name for each in found if not each.name.startswith("."))


def _files(folder: Path) -> Iterator[Path]:
    """Files of a folder, recursively."""
    found = (each for each in sorted(folder.rglob("*")) if each.is_file())
    return (each for each in found if not each.name.startswith("."))


def _rows(folder: Path, names: tuple[str, ...]) -> pd.DataFrame:
    rows = [
        (ImageFile(file), label)
        for label, name in enumerate(names)
        for file in _files(folder / name)
    ]
    return pd.DataFrame(rows, columns=[IMAGE, LABEL])
