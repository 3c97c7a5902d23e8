from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from compress.config.errors import ConfigError
from compress.device.cpu import Cpu
from compress.interfaces import TrainingData
from compress.teacher.vit_scratch import ScratchVitTeacher
from tests.configs import settings_of
from tests.tiny import NO_TRAINING


def teacher(*overrides: str) -> ScratchVitTeacher:
    return settings_of("teacher", "vit_scratch", *overrides)


SMALL = (
    "teacher.image_size=8", "teacher.patch_size=4", "teacher.layers=2", "teacher.hidden=16",
    "teacher.heads=2",
)  # fmt: skip


def test_it_has_the_sizes_that_were_asked_for(images: TrainingData, device: Cpu) -> None:
    made = replace(teacher(*SMALL), training=NO_TRAINING)
    torch.manual_seed(0)
    model = made.load(images, device, 0)
    config = model.module.config
    assert (config.image_size, config.num_hidden_layers, config.hidden_size) == (8, 2, 16)
    assert (config.intermediate_size, config.id2label) == (64, {0: "dark", 1: "bright"})
    assert {k: v.shape for k, v in made.skeleton("classifier").state_dict().items()} == {
        k: v.shape for k, v in model.module.state_dict().items()
    }
    assert model.tokenizer.size["height"] == 8  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("teacher.patch_size=5", "teacher.patch_size must divide image_size=32, got 5"),
        ("teacher.heads=5", "teacher.heads must divide hidden=96, got 5"),
        ("teacher.layers=0", "teacher.layers must be > 0, got 0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(overrides: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        teacher(overrides)
