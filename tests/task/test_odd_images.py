"""Image files of every odd kind: their pixels, or the one line that refuses them."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from compress.config.errors import UserError
from compress.task.components.picture import ImageFile
from tests.configs import settings_of
from tests.task.tables import refusal

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (6, 5, 3), np.uint8)


def saved(image: Image.Image, form: str, *, more: int = 0, **how: Any) -> bytes:
    """A file with an image, and with so many others that it turns into."""
    held = io.BytesIO()
    if more:
        turned = [image.rotate(90 * turn) for turn in range(1, more + 1)]
        how |= {"save_all": True, "append_images": turned}
    image.copy().save(held, form, **how)  # PIL keeps what it saved an image with
    return held.getvalue()


def claimed(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is large."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


whole = Image.fromarray(PIXELS)
transparent = Image.fromarray(np.dstack([PIXELS, PIXELS[..., :1]]))
palette = whole.quantize(8)
jpeg = Image.open(io.BytesIO(saved(whole, "JPEG")))

READ: dict[str, tuple[str, bytes, Image.Image]] = {
    "png": ("a.png", saved(whole, "PNG"), whole),
    "a gif of one frame": ("a.gif", saved(palette, "GIF"), palette),
    "grey": ("a.png", saved(whole.convert("L"), "PNG"), whole.convert("L")),
    "grey and alpha": ("a.png", saved(whole.convert("LA"), "PNG"), whole.convert("L")),
    "black and white": ("a.png", saved(whole.convert("1"), "PNG"), whole.convert("1")),
    "alpha": ("a.png", saved(transparent, "PNG"), whole),
    "transparent bytes of a palette": (
        "a.png", saved(palette, "PNG", transparency=bytes(range(8))), palette,
    ),
    "previews, as cameras add": ("a.jpg", saved(whole, "MPO", more=2), jpeg),
    "one pixel": ("a.bmp", saved(whole.crop((0, 0, 1, 1)), "BMP"), whole.crop((0, 0, 1, 1))),
}  # fmt: skip


@pytest.mark.parametrize(("name", "content", "image"), READ.values(), ids=READ)
def test_what_is_read(name: str, content: bytes, image: Image.Image, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    picture = ImageFile(tmp_path / name)
    assert len(picture.digest()) == 32
    assert np.array_equal(picture.pixels(), np.asarray(image.convert("RGB")))


DEEP = np.arange(30, dtype=np.uint16).reshape(6, 5) * 2000
REFUSED = {
    "no bytes": ("a.png", b"", "is not a complete image"),
    "text": ("a.png", b"text", "is not a complete image: cannot identify image file"),
    "cut off": ("a.png", saved(whole, "PNG")[:60], "is not a complete image"),
    "jpeg cut off": ("a.jpg", saved(whole, "JPEG")[:-100], "is not a complete image"),
    "an animated gif": ("a.gif", saved(palette, "GIF", more=2), "has 3 images, expected one"),
    "an animated png": ("a.png", saved(whole, "PNG", more=2), "has 3 images, expected one"),
    "an animated webp": ("a.webp", saved(whole, "WEBP", more=2), "has 3 images, expected one"),
    "a tiff of pages": ("a.tif", saved(whole, "TIFF", more=2), "has 3 images, expected one"),
    "16 bits of grey": ("a.png", saved(Image.fromarray(DEEP), "PNG"), "pixels of mode I;16, exp"),
    "32 bits": ("a.tif", saved(Image.fromarray(DEEP.astype(np.int32)), "TIFF"), "of mode I, exp"),
    "floats": ("a.tif", saved(Image.fromarray(DEEP.astype(np.float32)), "TIFF"), "of mode F, exp"),
    "100 megapixels": ("a.png", claimed(10_000, 10_000), "could be decompression bomb DOS"),
    "10 gigapixels": ("a.png", claimed(100_000, 100_000), "could be decompression bomb DOS"),
}


@pytest.mark.parametrize(("name", "content", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        ImageFile(path).digest()
    told = str(caught.value)
    assert told.startswith(str(path))
    assert said in told
    assert "\n" not in told


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM"])
def test_damage_is_refused_or_does_not_matter(form: str, tmp_path: Path) -> None:
    """Whatever a reader of the library stumbles over, and without a warning on the screen."""
    content, path = saved(whole, form), tmp_path / "a"
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for _ in range(200):
            damaged = bytearray(content)
            for place in RANDOM.integers(0, len(content), 3):
                damaged[place] = RANDOM.integers(0, 256)
            path.write_bytes(damaged)
            with suppress(UserError):
                ImageFile(path).digest()
    assert not seen


def test_a_folder_name_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    for name in (b"cat", b"d\xffg"):
        folder = tmp_path / name.decode("utf-8", "surrogateescape")
        folder.mkdir()
        whole.save(folder / "1.png")
    task = settings_of("task", "imagefolder", f"task.path={tmp_path}")
    assert "the folder name d\\udcffg is not UTF-8" in refusal(task)
