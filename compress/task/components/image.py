"""Labeled images: their encoding and training augmentation.

Pixels are resized and scaled when a batch is made, never before: 10,000 images of 224 × 224 pixels
would take 6 GB as numbers.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int, UInt8
from pydantic.dataclasses import dataclass
from torch import Tensor

from compress.config.fields import Fraction
from compress.interfaces import Split
from compress.problem.classification import Classification
from compress.task.components.picture import HeldImage, Picture, Pixels
from compress.task.components.sampling import LABEL, SampledTask, check_reads

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

    from compress.interfaces import Processor

IMAGE = "image"
DRAWN = "by row and reading"  # how variations are drawn: part of what identifies varying rows
LIKELY = 5  # classes; with no more of them every image is among the five likeliest


@dataclasses.dataclass(frozen=True)
class Variation:
    """Random augmentation of training images; see `ImageTask`. The frame is in whole pixels.

    He et al., "Deep Residual Learning for Image Recognition", arXiv:1512.03385, section 4.2.
    """

    crop: float
    flip: bool

    def __call__(self, pixels: Pixels, random: np.random.Generator) -> Pixels:
        """The augmented image."""
        height, width, _ = pixels.shape
        frame = round(self.crop * height), round(self.crop * width)
        top, left = (int(random.integers(0, 2 * size, endpoint=True)) for size in frame)
        framed = np.pad(pixels, [(frame[0],) * 2, (frame[1],) * 2, (0, 0)])
        seen = framed[top : top + height, left : left + width]
        return seen[:, ::-1] if self.flip and random.random() < 0.5 else seen


class ImageSplit(Split):
    """Rows of one image and one class index."""

    def __init__(self, name: str, rows: pd.DataFrame, variation: Variation | None = None) -> None:
        """Takes the columns `image`, of `Picture`s, and `label`; only training sees a variation.

        Raises:
            UserError: an image cannot be read.
        """
        self.name = name
        self._pictures: list[Picture] = rows[IMAGE].tolist()
        labels: list[int] = rows[LABEL].tolist()
        self._labels = torch.tensor(labels)
        self._variation = variation
        self._seed: int | None = None
        self._reads: list[int] = []
        drawn = None if variation is None else (DRAWN, variation)
        content = hashlib.sha256(repr(drawn).encode())
        for picture, label in zip(self._pictures, labels, strict=True):
            content.update(picture.digest() + f"{label}\x1e".encode())
        self.digest = content.hexdigest()[:16]

    @property
    def labels(self) -> Int[Tensor, " rows"]:
        """The class index of each row."""
        return self._labels

    def training_view(self, seed: int) -> ImageSplit:
        """The rows with augmentation, drawn anew at each read."""
        if self._variation is None:
            return self
        view = copy.copy(self)
        view._seed, view._reads = seed, [0] * len(self)
        return view

    def encode(self, tokenizer: Processor) -> Dataset:
        """Pixel values, computed when a row is read; `length` is 1 for every image."""
        from datasets import Dataset

        numbers = list(range(len(self)))
        columns = {"row": numbers, "length": [1] * len(numbers)}
        return Dataset.from_dict(columns).with_transform(_Encoding(self, tokenizer))

    def collate(self, tokenizer: Processor, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Stacks rows into one batch."""
        return {"pixel_values": torch.from_numpy(np.stack([row["pixel_values"] for row in rows]))}

    def pixels(self, row: int) -> Pixels:
        """The pixels of an image, augmented in a training view."""
        pixels = self._pictures[row].pixels()
        if self._variation is None or self._seed is None:
            return pixels
        self._reads[row] += 1
        return self._variation(pixels, np.random.default_rng((self._seed, row, self._reads[row])))


class _Encoding:
    """A `datasets` transform from row numbers to pixel values."""

    def __init__(self, split: ImageSplit, processor: Processor) -> None:
        self._split = split
        self._processor = processor

    def __call__(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        if "row" not in rows:  # another column was asked for
            return rows
        images = [self._split.pixels(row) for row in rows["row"]]
        made = self._processor(images, return_tensors="np", input_data_format="channels_last")
        return {**rows, "pixel_values": list(made["pixel_values"])}

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        """Pickles to the digest instead of the pixels, for the fingerprint of `datasets`."""
        return str, (self._split.digest,)

    def __deepcopy__(self, _: dict[int, Any]) -> _Encoding:
        return self


@dataclass(frozen=True, kw_only=True)
class ImageTask(SampledTask, ABC):
    """A task whose rows are images.

    Attributes:
        crop: in training, images are padded in black by this fraction of their sides and cropped at
            random; 0 for none.
        flip: in training, images are mirrored with probability 0.5; false if a mirrored image has
            another class.
    """

    crop: Fraction
    flip: bool

    @abstractmethod
    def class_names(self) -> tuple[str, ...]:
        """Class names in the order of their indices."""

    @final
    def scores(self) -> tuple[str, ...]:
        """Classification metrics, with top-5 accuracy if there are more than five classes."""
        likely = ("top5",) if len(self.class_names()) > LIKELY else ()
        return ("accuracy", "f1_macro", *likely)

    @final
    def problem(self) -> Classification:
        """The classification problem."""
        return Classification(self.class_names(), self.scores()[1:])

    @final
    def check_model(self, model: PreTrainedModel) -> None:
        """Raises a ConfigError if a model does not read images."""
        check_reads(self, model, "pixel_values")

    @final
    def make_split(self, role: str, name: str, rows: pd.DataFrame) -> ImageSplit:
        """A split of rows with the columns `image` and `label`; train rows are augmented."""
        varies = role == "train" and (self.crop > 0 or self.flip)
        return ImageSplit(name, rows, Variation(self.crop, self.flip) if varies else None)


def held_images(
    pixels: UInt8[np.ndarray, "images height width 3"], labels: Sequence[int]
) -> pd.DataFrame:
    """Rows of in-memory images and class indices."""
    return pd.DataFrame({IMAGE: [HeldImage(image) for image in pixels], LABEL: list(labels)})
