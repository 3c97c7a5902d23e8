"""Handwritten digits of 8 × 8 pixels from scikit-learn: 1,797 images, no download.

Alpaydin & Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI. The part that scikit-learn
has is the test part, of which writers are not known: the splits cut here share writers.
"""

from __future__ import annotations

from typing import final

import numpy as np
from pydantic.dataclasses import dataclass

from compress.interfaces import TaskData
from compress.task.components.folds import FoldedTask
from compress.task.components.image import ImageTask, held_images

HELD_OUT = {"evaluation": 0.2, "validation": 0.1}  # of the rows
DARKEST = 16  # shades are counted from 0 to this


@final
@dataclass(frozen=True, kw_only=True)
class Digits(FoldedTask, ImageTask):
    """Ten-class image classification on scikit-learn's digits."""

    def check(self) -> None:
        """Does nothing: the data is part of scikit-learn."""

    def class_names(self) -> tuple[str, ...]:
        """The digits as class names."""
        return tuple("0123456789")

    def load(self) -> TaskData:
        """Reads and splits the images."""
        from sklearn.datasets import load_digits

        found = load_digits()
        shades = (found.images * 255 / DARKEST).round().astype(np.uint8)
        rows = held_images(np.repeat(shades[..., None], 3, axis=-1), found.target.tolist())
        splits = self.split_off("digits", "the digits", rows, HELD_OUT, self.class_names())
        return self.assemble(splits, self.problem(), "digits of scikit-learn")
