"""A teacher before its training has the shapes of its skeleton, and can be written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from compress.device.cpu import Cpu
from compress.interfaces import CompressedModel, Teacher, TrainingData
from compress.quantizer.none import NoQuantizer
from compress.store.artifact import read_model
from compress.teacher.artifact import ArtifactTeacher
from compress.teacher.pretrained import PretrainedTeacher
from tests.configs import settings_of
from tests.slow import slow
from tests.tiny import NO_TRAINING, tiny_teacher, torch_export


def shapes_of(module: torch.nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in module.state_dict().items()}


def check_untrained(teacher: Teacher, made: CompressedModel, folder: Path) -> None:
    assert shapes_of(made.module) == shapes_of(teacher.skeleton("classifier"))
    assert not made.module.training
    assert [step.settings for step in made.history][-1] == teacher.describe()
    assert made.digest == ""
    torch_export(made, NoQuantizer(), folder)
    assert shapes_of(read_model(folder)) == shapes_of(made.module)


@pytest.mark.parametrize("architecture", ["bert", *slow(["roberta", "gpt2", "llama"])])
def test_a_tiny_one(architecture: str, data: TrainingData, tmp_path: Path) -> None:
    teacher = tiny_teacher(architecture)
    check_untrained(teacher, teacher.untrained(data), tmp_path / "model")


def test_a_vit(images: TrainingData, tmp_path: Path) -> None:
    words = ("image_size=8", "patch_size=4", "layers=1", "hidden=16", "heads=2")
    teacher = settings_of("teacher", "vit_scratch", *(f"teacher.{each}" for each in words))
    assert isinstance(teacher, Teacher)
    check_untrained(teacher, teacher.untrained(images), tmp_path / "model")


def test_a_checkpoint_for_other_classes_gets_a_head(
    teacher: CompressedModel, data: TrainingData, device: Cpu, tmp_path: Path
) -> None:
    """Where it is to be taken as it is, it is refused; for its shapes it will do."""
    names = ("low", "middle", "high")
    teacher.module.config.id2label = dict(enumerate(names))
    teacher.module.config.label2id = {name: number for number, name in enumerate(names)}
    teacher.module.classifier = torch.nn.Linear(16, 3)
    teacher.module.save_pretrained(tmp_path / "checkpoint")
    teacher.tokenizer.save_pretrained(tmp_path / "checkpoint")
    local = PretrainedTeacher(
        path=str(tmp_path / "checkpoint"), revision=None, finetune=NO_TRAINING
    )
    made = local.untrained(data)
    assert made.module.classifier.weight.shape == (2, 16)
    body = made.module.bert.state_dict()
    assert all(torch.equal(value, body[n]) for n, value in teacher.module.bert.state_dict().items())


def test_an_artifact_is_what_it_loads(
    teacher: CompressedModel, data: TrainingData, device: Cpu, tmp_path: Path
) -> None:
    torch_export(teacher, NoQuantizer(), tmp_path / "artifact")
    artifact = ArtifactTeacher(folder=str(tmp_path / "artifact"))
    made = artifact.untrained(data)
    check_untrained(artifact, made, tmp_path / "model")
    loaded = artifact.load(data, device, 0).module
    pairs = zip(made.module.parameters(), loaded.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
