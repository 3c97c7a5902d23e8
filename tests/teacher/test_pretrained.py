from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from compress.device.cpu import Cpu
from compress.interfaces import CompressedModel, TrainingData
from compress.problem.classification import Classification
from compress.settings import UserError
from compress.teacher.pretrained import PretrainedTeacher
from tests.conftest import NO_TRAINING, tiny_image_model


@pytest.fixture
def local(teacher: CompressedModel, tmp_path: Path) -> PretrainedTeacher:
    teacher.module.save_pretrained(tmp_path)
    teacher.tokenizer.save_pretrained(tmp_path)
    return PretrainedTeacher(path=str(tmp_path), finetune=NO_TRAINING)


def test_zero_epochs_take_the_model_as_it_is(
    local: PretrainedTeacher, teacher: CompressedModel, data: TrainingData, device: Cpu
) -> None:
    made = local.load(data, device, seed=0)
    pairs = zip(made.module.parameters(), teacher.module.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
    assert made.module.dtype == torch.float32


def test_an_encoder_is_no_language_model(local: PretrainedTeacher) -> None:
    with pytest.raises(UserError, match="that goes by the tokens before, got bert; allowed are"):
        local.skeleton("language_model")


def test_a_folder_with_an_image_model_is_read_with_its_processor(
    images: TrainingData, device: Cpu, tmp_path: Path
) -> None:
    model = tiny_image_model("vit")
    model.module.config.id2label = {0: "dark", 1: "bright"}
    for part in (model.module, model.tokenizer):
        part.save_pretrained(tmp_path)
    local = PretrainedTeacher(path=str(tmp_path), finetune=NO_TRAINING)
    local.check()
    assert local.skeleton("classifier").main_input_name == "pixel_values"
    made = local.load(images, device, seed=0)
    assert made.tokenizer.to_dict() == model.tokenizer.to_dict()
    pairs = zip(made.module.parameters(), model.module.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


def test_half_precision_files_become_float32(
    local: PretrainedTeacher, teacher: CompressedModel, data: TrainingData, device: Cpu
) -> None:
    copy.deepcopy(teacher.module).half().save_pretrained(local.path)
    assert local.load(data, device, seed=0).module.dtype == torch.float32


def test_a_head_for_other_classes_is_replaced_only_where_training_follows(
    local: PretrainedTeacher, data: TrainingData, device: Cpu
) -> None:
    three = replace(data, problem=Classification(("a", "b", "c")))
    with pytest.raises(UserError, match="has no head for 3 classes"):
        local.load(three, device, seed=0)
    training = replace(NO_TRAINING, epochs=1, learning_rate=0.01)
    made = replace(local, finetune=training).load(three, device, seed=0)
    assert made.module.config.num_labels == 3


def test_digest_follows_the_weights(local: PretrainedTeacher, teacher: CompressedModel) -> None:
    before = local.content_digest()
    other = copy.deepcopy(teacher.module)
    with torch.no_grad():
        next(other.parameters()).add_(1)
    other.save_pretrained(local.path)
    assert replace(local).content_digest() != before
