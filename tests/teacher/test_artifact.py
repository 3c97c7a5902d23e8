from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from compress.config.errors import UserError
from compress.device.cpu import Cpu
from compress.interfaces import CompressedModel, StageContext, TrainingData
from compress.measure.score import predict_all
from compress.measure.sparsity import check_history, live_shapes, live_zeros
from compress.problem.classification import Classification
from compress.serve.folder import RunSpec, read_manifest
from compress.store.artifact import finalize, new_folder, read_model
from compress.store.cache import StageStore
from compress.teacher.artifact import ArtifactTeacher
from compress.transformer.torch_model import TorchModel
from tests.configs import settings_of, yaml_names
from tests.tiny import torch_export

Contexts = Callable[[CompressedModel], StageContext]
QUANTIZED = [
    (name, overrides)
    for name in yaml_names("quantizer")
    if name not in ("none", "fp16", "bf16", "int8_static")
    for overrides in ((), ("quantizer.embeddings=int8",))
    if not overrides or name != "fp8"  # which has no format for embeddings
]


def write(model: CompressedModel, folder: Path, quantizer: str, *overrides: str) -> Path:
    torch_export(model, settings_of("quantizer", quantizer, *overrides), folder)
    return folder


def pruned(name: str, teacher: CompressedModel, context: Contexts) -> CompressedModel:
    return settings_of("pruner", name).prune(teacher, context(teacher))


def logits_of(model: CompressedModel, data: TrainingData) -> torch.Tensor:
    return predict_all(TorchModel(model.module, model.tokenizer, "cpu"), data.validation, 4)


@pytest.mark.parametrize("pruner", ["none", "wanda", "heads", "lowrank", "chain", "layers"])
def test_it_is_what_the_folder_holds(
    pruner: str, teacher: CompressedModel, context: Contexts, data: TrainingData, device: Cpu,
    tmp_path: Path,
) -> None:  # fmt: skip
    model = pruned(pruner, teacher, context)
    settings = ArtifactTeacher(folder=str(write(model, tmp_path / "model", "none")))
    settings.check()
    made = settings.load(data, device, seed=0)
    skeleton = settings.skeleton("classifier").state_dict()
    assert {k: v.shape for k, v in skeleton.items()} == {
        k: v.shape for k, v in model.module.state_dict().items()
    }
    assert {v.device.type for v in skeleton.values()} == {"meta"}
    assert torch.equal(logits_of(made, data), logits_of(model, data))
    assert made.history[-1].settings == settings.describe()
    for live in (live_zeros, live_shapes):
        assert live(made.history) == live(model.history)
    # Through the cache too, as the pipeline takes it.
    stored = StageStore(tmp_path / "cache", device, 0).model("teacher", settings, {}, lambda: made)
    check_history(stored.history, stored.module.named_parameters())


@pytest.mark.parametrize("pruner", ["none", "lowrank"])
@pytest.mark.parametrize("half", ["fp16", "bf16"])
def test_half_precision_becomes_float32(
    half: str, pruner: str, teacher: CompressedModel, context: Contexts, data: TrainingData,
    device: Cpu, tmp_path: Path,
) -> None:  # fmt: skip
    folder = write(pruned(pruner, teacher, context), tmp_path / "model", half)
    dtypes = {p.dtype for p in read_model(folder).parameters()}
    assert dtypes == {torch.float16 if half == "fp16" else torch.bfloat16}
    settings = ArtifactTeacher(folder=str(folder))
    settings.check()
    store = StageStore(tmp_path / "cache", device, 0)
    made = store.model("teacher", settings, {}, lambda: settings.load(data, device, 0))
    assert {p.dtype for p in made.module.parameters()} == {torch.float32}
    assert {p.dtype for p in settings.skeleton("classifier").parameters()} == {torch.float32}
    pairs = zip(made.module.parameters(), read_model(folder).parameters(), strict=True)
    assert all(torch.equal(ours, theirs.float()) for ours, theirs in pairs)


@pytest.mark.parametrize(("name", "overrides"), QUANTIZED)
def test_codes_are_refused_before_any_weight_is_read(
    name: str, overrides: tuple[str, ...], teacher: CompressedModel, tmp_path: Path
) -> None:
    folder = write(teacher, tmp_path / "model", name, *overrides)
    with pytest.raises(UserError, match=r"is quantized .* expected float weights"):
        ArtifactTeacher(folder=str(folder)).check()


def test_another_runtimes_folder_is_refused(teacher: CompressedModel, tmp_path: Path) -> None:
    new_folder(tmp_path / "model")
    teacher.module.save_pretrained(tmp_path / "model")
    finalize(teacher, tmp_path / "model", RunSpec("other", "BertModel"))
    with pytest.raises(UserError, match="exported for other, expected torch"):
        ArtifactTeacher(folder=str(tmp_path / "model")).check()


def test_damage_is_refused(teacher: CompressedModel, tmp_path: Path) -> None:
    folder = write(teacher, tmp_path / "model", "none")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(UserError, match=r"model\.safetensors is damaged"):
        ArtifactTeacher(folder=str(folder)).check()


def test_other_classes_are_refused(
    teacher: CompressedModel, data: TrainingData, device: Cpu, tmp_path: Path
) -> None:
    settings = ArtifactTeacher(folder=str(write(teacher, tmp_path / "model", "none")))
    other = replace(data, problem=Classification(("glad", "bad")))
    with pytest.raises(UserError, match="has the classes sad, glad, expected the task's: gl"):
        settings.load(other, device, seed=0)


@pytest.mark.parametrize("pruner", ["none", "lowrank"])
def test_classes_in_another_order_are_put_in_order(
    pruner: str, teacher: CompressedModel, context: Contexts, data: TrainingData, device: Cpu,
    tmp_path: Path,
) -> None:  # fmt: skip
    model = pruned(pruner, teacher, context)
    settings = ArtifactTeacher(folder=str(write(model, tmp_path / "model", "none")))
    other = replace(data, problem=Classification(("Glad", "Sad")))
    made = settings.load(other, device, seed=0)
    torch.testing.assert_close(logits_of(made, data), logits_of(model, data).flip(1))
    assert made.module.config.id2label == {0: "Glad", 1: "Sad"}
    assert made.history[-1].notes == {"class_order": [1, 0]}


def test_digest_follows_the_content_and_not_the_path(
    teacher: CompressedModel, context: Contexts, tmp_path: Path
) -> None:
    def digest(model: CompressedModel, name: str) -> str:
        return ArtifactTeacher(folder=str(write(model, tmp_path / name, "none"))).content_digest()

    assert digest(teacher, "a") == digest(teacher, "b")
    assert digest(pruned("wanda", teacher, context), "c") != digest(teacher, "d")
    assert read_manifest(tmp_path / "a").files == read_manifest(tmp_path / "b").files
