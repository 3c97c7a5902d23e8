"""One image, in memory or in a file."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from jaxtyping import UInt8

from compress.config.errors import UserError, first_line
from compress.system.digests import file_digest

if TYPE_CHECKING:
    from PIL.Image import Image

DEEP = ("I", "F")  # 32 bits; PIL's own conversion makes white of all that is over 255
ANIMATED = ("GIF", "PNG", "WEBP", "TIFF")  # a photograph's MPO has previews beside it

Pixels = UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True)
class HeldImage:
    """An image in memory."""

    content: Pixels

    def pixels(self) -> Pixels:
        """The array in memory."""
        return self.content

    def digest(self) -> bytes:
        """SHA-256 of shape and content."""
        shape = repr(self.content.shape).encode()
        return hashlib.sha256(shape + self.content.tobytes()).digest()


@dataclass(frozen=True)
class ImageFile:
    """An image file, read at each access."""

    path: Path

    def pixels(self) -> Pixels:
        """The image in the file as RGB pixels.

        Raises:
            UserError: the file is damaged or no image.
        """
        with self._opened() as image:
            return np.asarray(image.convert("RGB"))

    def digest(self) -> bytes:
        """SHA-256 of the file, after a successful read.

        Raises:
            UserError: it is not an image, has several, or more than 8 bits of each color.
        """
        with self._opened() as image:
            if image.mode in DEEP or image.mode.startswith("I;"):
                raise UserError(
                    f"{self.path} has pixels of mode {image.mode}, expected 8 bits of each color: "
                    "convert it first, as there are several ways to do so"
                )
            frames = getattr(image, "n_frames", 1)
            if frames > 1 and image.format in ANIMATED:
                raise UserError(
                    f"{self.path} has {frames} images, expected one: save each image to "
                    "its own file"
                )
        self.pixels()
        return bytes.fromhex(file_digest(self.path))

    @contextmanager
    def _opened(self) -> Iterator[Image]:
        from PIL import Image as images

        try:
            with warnings.catch_warnings():
                # Of metadata, which say nothing of pixels; but an image that PIL warns of would
                # take half a gigabyte.
                warnings.simplefilter("ignore")
                warnings.simplefilter("error", images.DecompressionBombWarning)
                with images.open(self.path) as image:
                    yield image
        except UserError:
            raise
        except Exception as error:
            # Readers of formats raise whatever they stumble over: OSError, SyntaxError, KeyError …
            raise UserError(f"{self.path} is not a complete image: {first_line(error)}") from error


Picture: TypeAlias = HeldImage | ImageFile
