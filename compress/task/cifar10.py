"""CIFAR-10: photographs of 32 × 32 pixels in ten classes.

Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images". The published test split
is the evaluation split; a validation part is split off train.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd
from pydantic.dataclasses import dataclass

from compress.config.errors import UserError, first_line
from compress.interfaces import TaskData
from compress.task.components.delimited import listed
from compress.task.components.hub import (
    IMAGES,
    Column,
    check_revision,
    load_hub_dataset,
    source_words,
)
from compress.task.components.image import ImageTask, held_images
from compress.task.components.sampling import hold_out

HUB_ID = "uoft-cs/cifar10"
CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
SHAPE = (32, 32, 3)
VALIDATION = 0.1  # of the train split
ARRAYS = ("x_train", "y_train", "x_test", "y_test")
# Cut off, encrypted, packed in a way that Python has not, or of a size that there is no memory for.
DAMAGED = (
    OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError,
    MemoryError,
)  # fmt: skip


@final
@dataclass(frozen=True, kw_only=True)
class Cifar10(ImageTask):
    """Ten-class image classification on CIFAR-10.

    Attributes:
        path: an npz file with the arrays `x_train` and `x_test` (uint8, images × 32 × 32 × 3),
            `y_train` and `y_test` (whole numbers from 0 to 9); null for the hub.
        revision: branch, tag or commit of the hub's dataset; null for the newest.
    """

    path: str | None
    revision: str | None

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        check_revision(self.revision, self.path is None, "task.path=null")

    def check(self) -> None:
        """Raises a UserError if the file is absent, is not an npz file, or lacks an array."""
        if self.path is not None:
            with _opened(Path(self.path)) as arrays:
                absent = [name for name in ARRAYS if name not in arrays.files]
                if absent:
                    raise UserError(
                        f"{self.path} has the arrays {listed(arrays.files) or 'none'}; "
                        f"expected {', '.join(ARRAYS)}"
                    )

    def class_names(self) -> tuple[str, ...]:
        """The published class names."""
        return CLASSES

    def load(self) -> TaskData:
        """Reads both splits and splits the validation rows off train."""
        parts, source = self._hub() if self.path is None else self._file(Path(self.path))
        where = HUB_ID if self.path is None else self.path
        splits = hold_out(where, parts["train"], {"validation": VALIDATION}, CLASSES, self.seed)
        cut = f"published train split, seed {self.seed}"
        return self.assemble(
            {
                "train": (f"rest of the {cut}", splits["train"]),
                "validation": (f"{VALIDATION:.0%} of the {cut}", splits["validation"]),
                "evaluation": ("published test split", parts["test"]),
            },
            self.problem(),
            f"CIFAR-10 from {source}",
        )

    def _file(self, path: Path) -> tuple[dict[str, pd.DataFrame], str]:
        with _opened(path) as arrays:
            try:
                found = {name: arrays[name] for name in ARRAYS}
            except DAMAGED as error:
                raise UserError(f"{path} is damaged: {first_line(error)}") from error
        for split in ("train", "test"):
            _check_arrays(path, split, found[f"x_{split}"], found[f"y_{split}"])
        parts = {
            split: held_images(found[f"x_{split}"], found[f"y_{split}"].tolist())
            for split in ("train", "test")
        }
        return parts, path.name

    def _hub(self) -> tuple[dict[str, pd.DataFrame], str]:
        columns = {"img": IMAGES, "label": Column("number", 0, len(CLASSES) - 1)}
        needed = dict.fromkeys(("train", "test"), columns)
        advice = "set task.path=<an npz file>"
        published = load_hub_dataset(HUB_ID, None, advice, needed, self.revision)
        parts = {
            split: held_images(
                np.stack([np.asarray(image.convert("RGB")) for image in published[split]["img"]]),
                list(published[split]["label"]),
            )
            for split in ("train", "test")
        }
        return parts, source_words(HUB_ID, None, published)


@contextmanager
def _opened(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
    """An npz file; arrays of Python objects, which would have to be unpickled, are refused."""
    if not path.is_file():
        raise UserError(f"task.path: {path} does not exist or is not a file")
    with path.open("rb") as file:
        try:
            found = np.load(file, allow_pickle=False)
        except DAMAGED as error:
            raise UserError(f"task.path: {path} is not an npz file: {first_line(error)}") from error
        if not isinstance(found, np.lib.npyio.NpzFile):
            raise UserError(f"task.path: {path} is one array, expected an npz file of four")
        yield found


def _check_arrays(path: Path, split: str, images: Any, labels: Any) -> None:
    """Raises a UserError if the arrays of a split are not what they should be."""
    if images.dtype != np.uint8 or images.shape[1:] != SHAPE:
        raise UserError(
            f"{path}: x_{split} is {images.dtype} of shape {images.shape}, expected uint8 of shape "
            f"(images, {', '.join(map(str, SHAPE))})"
        )
    if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
        raise UserError(
            f"{path}: y_{split} is {labels.dtype} of shape {labels.shape}, expected whole numbers "
            f"of shape ({len(images)},)"
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= len(CLASSES)))
    if wrong.size or not labels.size:
        what = f"row {wrong[0] + 1} is {labels[wrong[0]]}" if wrong.size else "there are no rows"
        raise UserError(f"{path}: y_{split}: {what}, expected 0 to {len(CLASSES) - 1}")
