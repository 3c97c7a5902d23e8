from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers

from compress.config.errors import ConfigError
from compress.device.cpu import Cpu
from compress.interfaces import CompressedModel, StageContext
from compress.task.components.image import ImageSplit, Variation, held_images
from compress.task.components.picture import Pixels
from compress.training.distillation import Distillation, distill_, teacher_outputs
from tests.configs import settings_of
from tests.tiny import PLAIN

PROCESSOR = transformers.ViTImageProcessorPil(size={"height": 4, "width": 4})


def picture(height: int, width: int) -> Pixels:
    """Every shade once, from 1 on: 0 is the frame."""
    shades = np.arange(1, height * width + 1, dtype=np.uint8).reshape(height, width)
    return np.repeat(shades[..., None], 3, axis=-1)


def images(count: int, variation: Variation | None = None) -> ImageSplit:
    pixels = np.stack([picture(4, 4) + i for i in range(count)])
    return ImageSplit("x", held_images(pixels, [i % 2 for i in range(count)]), variation)


def test_pixels_are_scaled_when_a_row_is_read() -> None:
    encoded = images(3).encode(PROCESSOR).add_column("labels", [7, 8, 9]).remove_columns("length")
    row = encoded[2]
    assert row["labels"] == 9
    # The processor's mean and deviation are 0.5: 0 becomes -1, and 255 becomes 1.
    expected = (picture(4, 4) + 2).transpose(2, 0, 1) / 127.5 - 1
    assert np.allclose(row["pixel_values"], expected, atol=1e-6)
    batch = images(3).collate(PROCESSOR, [encoded[2], encoded[0]])
    assert list(batch) == ["pixel_values"]
    assert batch["pixel_values"].shape == (2, 3, 4, 4)
    assert batch["pixel_values"].dtype is torch.float32
    assert images(3).encode(PROCESSOR)["length"][:] == [1, 1, 1]


def test_a_frame_of_a_pixel_and_no_flip_by_hand() -> None:
    seen = {
        tuple(Variation(0.25, False)(picture(4, 4), np.random.default_rng(seed))[..., 0].ravel())
        for seed in range(200)
    }
    framed = np.pad(picture(4, 4)[..., 0], 1)
    parts = {tuple(framed[i : i + 4, j : j + 4].ravel()) for i in range(3) for j in range(3)}
    assert seen == parts


@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 3), (32, 32)])
def test_a_flip_alone_by_hand(height: int, width: int) -> None:
    original = picture(height, width)
    random = np.random.default_rng(0)
    seen = [Variation(0.0, True)(original, random) for _ in range(200)]
    flipped = sum(np.array_equal(each, original[:, ::-1]) for each in seen)
    assert flipped + sum(np.array_equal(each, original) for each in seen) == 200
    assert 70 < flipped < 130


def test_only_a_training_view_varies_and_its_seed_decides() -> None:
    split = images(8, Variation(0.25, True))

    def read(split: ImageSplit) -> list[list[float]]:
        rows = split.encode(PROCESSOR)
        return [[float(row["pixel_values"].sum()) for row in rows] for _ in range(2)]

    plain = read(split)
    assert plain[0] == plain[1]
    first, again, other = (read(split.training_view(seed)) for seed in (0, 0, 1))
    assert first == again
    assert first[0] != first[1]
    assert first != other
    assert read(split) == plain
    unvaried = images(8)
    assert unvaried.training_view(0) is unvaried


def test_two_views_of_a_seed_see_each_reading_of_a_row_alike_in_any_order() -> None:
    split = images(8, Variation(0.25, True))
    one, other = split.training_view(0), split.training_view(0)

    def readings(view: ImageSplit, order: tuple[int, ...]) -> list[Pixels]:
        seen = [(row, view.pixels(row)) for row in order]
        return [pixels for row, pixels in seen if row == 0]

    mine, theirs = readings(one, (0, 1, 2, 0, 0)), readings(other, (2, 0, 0, 1, 0))
    assert np.array_equal(mine, theirs)
    assert len({pixels.tobytes() for pixels in mine}) > 1


def test_digests_follow_pixels_labels_and_variation() -> None:
    assert images(4).digest == images(4).digest
    pixels = np.stack([picture(4, 4) + i for i in range(4)])
    others = [
        images(3),
        images(4, Variation(0.25, False)),
        images(4, Variation(0.25, True)),
        ImageSplit("x", held_images(pixels, [0, 1, 1, 0])),
        ImageSplit("x", held_images(pixels.reshape(4, 2, 8, 3), [0, 1, 0, 1])),
    ]
    assert len({images(4).digest, *(split.digest for split in others)}) == 6


def test_training_sees_the_variation_and_repeats(device: Cpu) -> None:
    small = ("image_size=8", "layers=1", "hidden=8", "heads=2", "training.epochs=3")
    teacher = settings_of("teacher", "vit_scratch", *(f"teacher.{setting}" for setting in small))
    task = settings_of("task", "digits", "task.limit=40", "task.calibration_samples=10")

    def trained(crop: float) -> torch.Tensor:
        transformers.set_seed(0)
        model = teacher.load(replace(task, crop=crop).load().training, device, 0)
        return model.module.classifier.weight.detach()

    assert torch.equal(trained(0.125), trained(0.125))
    assert not torch.equal(trained(0.125), trained(0.0))


Contexts = Callable[[CompressedModel], StageContext]


def varied(teacher: CompressedModel, context: Contexts) -> StageContext:
    """A teacher with rows that differ each time that training reads them."""
    ctx = context(teacher)
    noise = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), np.uint8)
    rows = held_images(noise, [i % 2 for i in range(24)])
    return replace(ctx, data=replace(ctx.data, train=ImageSplit("x", rows, Variation(0.5, True))))


def test_a_student_sees_what_its_teacher_is_asked_about(
    teachers: Callable[[str], CompressedModel], context: Contexts
) -> None:
    """A copy of the teacher has nothing to learn, however images vary in two epochs."""
    processor = transformers.ViTImageProcessorPil(size={"height": 8, "width": 8})
    ctx = varied(replace(teachers("vit"), tokenizer=processor), context)
    settings = Distillation(
        temperature=1, alpha=1, epochs=2, learning_rate=1e-12, batch_size=5, label_smoothing=0,
        logit_mse=0, teachers=None, **PLAIN,
    )  # fmt: skip
    student = replace(ctx.teacher, module=copy.deepcopy(ctx.teacher.module))
    curve = distill_(student, settings, ctx)
    losses = [point.loss for point in curve]
    assert len(losses) == 10
    assert losses == pytest.approx([0] * 10, abs=1e-7)


@pytest.mark.usefixtures("float32_training")
def test_a_teacher_sees_varied_images_in_its_own_way(
    teachers: Callable[[str], CompressedModel], context: Contexts
) -> None:
    """The second reading of rows 3 and 0, by a processor that is not the student's."""
    theirs = transformers.ViTImageProcessorPil(size={"height": 8, "width": 8}, image_mean=[0.1] * 3)
    ctx = varied(replace(teachers("vit"), tokenizer=theirs), context)
    outputs = teacher_outputs(ctx)
    found = [outputs({}, torch.tensor([3, 0])) for _ in range(2)]
    view = ctx.data.train.training_view(ctx.seed)
    seen = [[view.pixels(row) for row in (3, 0)] for _ in range(2)]
    for logits, pixels in zip(found, seen, strict=True):
        with torch.no_grad():
            expected = ctx.teacher.module(**theirs(pixels, return_tensors="pt")).logits
        assert torch.allclose(logits, expected, atol=1e-6)
    assert not torch.allclose(*found, atol=1e-4)


def test_a_crop_of_everything_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"task\.crop must be in \[0, 1\), got 1"):
        settings_of("task", "digits", "task.crop=1")
