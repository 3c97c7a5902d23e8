from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from compress.config.errors import ConfigError, UserError
from compress.device.cpu import Cpu
from compress.interfaces import CompressedModel, Runtime, StageContext, TrainingData
from compress.measure.score import predict_all
from compress.problem.language import LanguageModeling
from compress.records.schema import FinishedRun
from compress.runtime.onnxruntime import OnnxRuntime
from compress.runtime.openvino import OpenVino
from compress.serve.folder import MANIFEST
from compress.store.artifact import load, write_model
from compress.store.cache import StageStore
from compress.store.kinds import TORCH
from compress.task.components.image import ImageSplit, Variation, held_images
from compress.training.distillation import teacher_logits, teacher_outputs
from compress.training.teachers import check_teachers, logit_sources, mean
from compress.transformer.torch_model import TorchModel
from tests.configs import settings_of
from tests.slow import slow
from tests.tiny import torch_export
from tests.vocabularies import CLASSIFIER, make_tokenizer

Teachers = Callable[[str], CompressedModel]
Contexts = Callable[[CompressedModel], StageContext]
Runs = Callable[..., FinishedRun]
RUNTIMES: dict[str, Runtime] = {
    "onnxruntime": OnnxRuntime(),
    "openvino": OpenVino(specialize=False, activation_group=None),
}


def written(model: CompressedModel, folder: Path, quantizer: str = "none") -> str:
    """A model folder for torch."""
    torch_export(model, settings_of("quantizer", quantizer), folder)  # type: ignore[arg-type]
    return str(folder)


def drawn(model: CompressedModel, seed: int) -> CompressedModel:
    """The same architecture with other weights."""
    torch.manual_seed(seed)
    for parameter in model.module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return replace(model, digest=f"drawn-{seed}", folder=None)


def alone(folder: str, data: TrainingData) -> Tensor:
    return predict_all(load(folder), data.train, 64)


def own(ctx: StageContext) -> Tensor:
    model = ctx.teacher
    return predict_all(TorchModel(model.module, model.tokenizer, "cpu"), ctx.data.train, 64)


def test_the_mean_by_hand() -> None:
    """Odds of 8:1 and of 2:1 are odds of 4:1, and at T = 2 the square roots are so too."""
    pair = [torch.tensor([[3 * math.log(2), 0.0]]), torch.tensor([[math.log(2), 0.0]])]
    made = mean(pair)
    assert made.tolist() == [[pytest.approx(2 * math.log(2)), 0.0]]
    for temperature in (1.0, 2.0):
        softened = torch.stack([(each / temperature).softmax(1) for each in pair])
        geometric = softened.log().mean(0).exp()
        expected = geometric / geometric.sum()
        torch.testing.assert_close((made / temperature).softmax(1), expected)


def test_one_teacher_is_its_own_mean() -> None:
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(mean([logits]), logits)


@pytest.mark.usefixtures("float32_training")
@pytest.mark.parametrize("quantizer", ["none", "bf16", "int8_dynamic"])
@pytest.mark.parametrize("architecture", ["distilbert", "gpt2"])
def test_two_teachers(
    architecture: str, quantizer: str, teachers: Teachers, context: Contexts, tmp_path: Path
) -> None:
    ctx = context(drawn(teachers("bert"), 1))
    folder = written(drawn(teachers(architecture), 2), tmp_path / "other", quantizer)
    first, second = own(ctx), alone(folder, ctx.data)
    assert (first - second).abs().max() > 0.1
    torch.testing.assert_close(teacher_logits(ctx, [folder]), (first + second) / 2)


@pytest.mark.usefixtures("float32_training")
@pytest.mark.parametrize("runtime", slow(RUNTIMES))
def test_a_teacher_of_another_runtime(
    runtime: str, teachers: Teachers, context: Contexts, tmp_path: Path
) -> None:
    ctx = context(drawn(teachers("bert"), 1))
    quantizer: Any = settings_of("quantizer", "none")
    RUNTIMES[runtime].export(teachers("bert"), quantizer, tmp_path / "other", ctx)
    folder = str(tmp_path / "other")
    expected = (own(ctx) + alone(folder, ctx.data)) / 2
    torch.testing.assert_close(teacher_logits(ctx, [folder]), expected)


@pytest.mark.usefixtures("float32_training")
def test_each_reads_the_rows_with_its_own_tokenizer(
    teachers: Teachers, context: Contexts, tmp_path: Path
) -> None:
    ctx, other = context(drawn(teachers("bert"), 1)), drawn(teachers("bert"), 2)
    tokens = make_tokenizer(
        "bytes", CLASSIFIER, inputs=("input_ids", "attention_mask"), pads=True, side="right"
    )
    other = replace(other, tokenizer=tokens)
    folder = written(other, tmp_path / "other")
    row = ctx.data.train.encode(tokens).remove_columns("length")[3]
    assert row["input_ids"] != ctx.data.train.encode(ctx.teacher.tokenizer)[3]["input_ids"]
    with torch.no_grad():
        theirs = other.module(**{k: torch.tensor([v]) for k, v in row.items()}).logits[0]
    torch.testing.assert_close(teacher_logits(ctx, [folder])[3], (own(ctx)[3] + theirs) / 2)


@pytest.mark.usefixtures("float32_training")
def test_classes_go_by_name(teachers: Teachers, context: Contexts, tmp_path: Path) -> None:
    ctx = context(drawn(teachers("bert"), 1))
    other = drawn(teachers("bert"), 2)
    other.module.config.id2label, other.module.config.label2id = (
        {0: "GLAD", 1: "Sad"}, {"GLAD": 0, "Sad": 1},
    )  # fmt: skip
    folder = written(other, tmp_path / "other")
    expected = (own(ctx) + alone(folder, ctx.data).flip(1)) / 2
    torch.testing.assert_close(teacher_logits(ctx, [folder]), expected)


@pytest.mark.usefixtures("float32_training")
def test_a_model_counts_once(teachers: Teachers, context: Contexts, tmp_path: Path) -> None:
    """The run's own teacher, as kept in the cache and beside a sweep, and a copy of another."""
    made = drawn(teachers("bert"), 1)
    write_model(made, tmp_path / "own", TORCH)
    ctx = context(replace(made, folder=tmp_path / "own", digest="own"))
    pair = [written(drawn(teachers("bert"), 2), tmp_path / name) for name in ("a", "b")]
    expected = (own(ctx) + alone(pair[0], ctx.data)) / 2
    assert [each.digest for each in logit_sources([str(tmp_path / "own")], ctx)] == ["own"]
    torch.testing.assert_close(teacher_logits(ctx, [str(tmp_path / "own"), *pair]), expected)


def test_each_teachers_logits_are_computed_once(
    teachers: Teachers, context: Contexts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = context(drawn(teachers("bert"), 1))
    pair = [written(drawn(teachers("bert"), seed), tmp_path / str(seed)) for seed in (2, 3)]
    calls = []

    def counted(*args: Any) -> Tensor:
        calls.append(args)
        return predict_all(*args)

    monkeypatch.setattr("compress.training.distillation.predict_all", counted)
    made = [teacher_logits(ctx, folders) for folders in ([], pair[:1], pair, pair[::-1])]
    assert len(calls) == 3
    torch.testing.assert_close(made[2], made[3])
    moved = tmp_path / "moved"
    Path(pair[0]).rename(moved)
    assert torch.equal(teacher_logits(ctx, [str(moved)]), made[1])
    assert len(calls) == 3


@pytest.mark.usefixtures("float32_training")
def test_every_teacher_sees_the_students_view_of_an_image(
    teachers: Teachers, context: Contexts, tmp_path: Path
) -> None:
    """At the second reading too: a teacher reads each row once a time, as the student does."""
    size = {"height": 8, "width": 8}
    ours, theirs = (
        transformers.ViTImageProcessorPil(size=size, image_mean=[m] * 3) for m in (0.5, 0.1)
    )
    ctx = context(replace(drawn(teachers("vit"), 1), tokenizer=ours))
    noise = torch.randint(256, (6, 8, 8, 3), generator=torch.Generator().manual_seed(0))
    rows = held_images(noise.to(torch.uint8).numpy(), [0, 1] * 3)
    ctx = replace(ctx, data=replace(ctx.data, train=ImageSplit("x", rows, Variation(0.5, True))))
    other = replace(drawn(teachers("deit"), 2), tokenizer=theirs)
    other.module.config.id2label = {0: "dark", 1: "bright"}
    folder = written(other, tmp_path / "other")
    outputs = teacher_outputs(ctx, [folder])
    found = [outputs({}, torch.tensor([3, 0])) for _ in range(2)]
    view = ctx.data.train.training_view(ctx.seed)
    seen = [[view.pixels(row) for row in (3, 0)] for _ in range(2)]
    for logits, pixels in zip(found, seen, strict=True):
        with torch.no_grad():
            first = ctx.teacher.module(**ours(pixels, return_tensors="pt")).logits
            second = other.module(**theirs(pixels, return_tensors="pt")).logits
        torch.testing.assert_close(logits, (first + second) / 2)
        assert not logits.is_inference()  # which no loss could keep for its gradients
    assert not torch.equal(*found)


def test_float32_models_label_in_the_precision_of_the_training(
    teachers: Teachers, context: Contexts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = context(drawn(teachers("bert"), 1))
    coded = written(drawn(teachers("bert"), 2), tmp_path / "coded", "int8_weight_only")
    exact = own(ctx)
    monkeypatch.setattr(Cpu, "training_dtype", lambda _: torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = own(ctx)
    assert torch.equal(teacher_logits(ctx), rounded)
    assert 0 < (rounded - exact).abs().max() < 0.05 * exact.abs().max()
    torch.testing.assert_close(teacher_logits(ctx, [coded]), (rounded + alone(coded, ctx.data)) / 2)


def test_the_content_of_a_folder_is_part_of_the_key_of_every_stage(
    teacher: CompressedModel, device: Cpu, tmp_path: Path
) -> None:
    folder = written(teacher, tmp_path / "other")
    store = StageStore(tmp_path / "cache", device, 0)
    named = [
        settings_of("student", "layers", f"student.distillation.teachers=[{folder}]"),
        settings_of("pruner", "wanda", f"pruner.recovery.teachers=[{folder}]"),
        settings_of("pruner", "chain", f"pruner.steps.heads.recovery.teachers=[{folder}]"),
        settings_of("quantizer", "qat_int8", f"quantizer.training.teachers=[{folder}]"),
    ]

    def keys() -> Sequence[str]:
        made = replace(teacher, digest="")
        return [store.model("stage", each, {}, lambda: made).digest for each in named]

    before = keys()
    assert keys() == before
    manifest = json.loads((tmp_path / "other" / MANIFEST).read_text())
    (tmp_path / "other" / MANIFEST).write_text(json.dumps(manifest))
    after = keys()
    assert len({*before, *after}) == 2 * len(named)


def test_a_language_model_with_other_tokens_is_refused(
    teachers: Teachers, context: Contexts, tmp_path: Path
) -> None:
    ctx = context(teachers("bert"))
    tokens = make_tokenizer(
        "bytes", CLASSIFIER, inputs=("input_ids", "attention_mask"), pads=True, side="right"
    )
    folder = written(replace(teachers("bert"), tokenizer=tokens), tmp_path / "other")
    ctx = replace(ctx, data=replace(ctx.data, problem=LanguageModeling(None)))
    with pytest.raises(UserError, match="predicts other tokens than the run's teacher"):
        logit_sources([folder], ctx)


def check(folder: str) -> None:
    task, device = settings_of("task", "rotten_tomatoes"), settings_of("device", "cpu")
    check_teachers([folder], task, device)  # type: ignore[arg-type]


def test_folders_that_cannot_be_learned_from_are_refused(
    teachers: Teachers, tmp_path: Path
) -> None:
    good = written(teachers("bert"), tmp_path / "good")
    check(good)
    weights = tmp_path / "good" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(UserError, match=r"good/model\.safetensors is damaged"):
        check(good)
    with pytest.raises(UserError, match="nowhere is not a compress model folder"):
        check(str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"has texts, but ViTForImageClassification reads image"):
        check(written(teachers("vit"), tmp_path / "vit"))


def test_other_classes_are_refused_before_the_teacher_is_trained(
    teachers: Teachers, run_config: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(teachers("bert"), tmp_path / "other")
    monkeypatch.setattr("compress.teacher.tiny_random.TinyRandomTeacher.load", None)
    (tmp_path / "cache").mkdir()
    with pytest.raises(UserError, match="other has the classes sad, glad, expected the task"):
        run_config("pruner=wanda", f"pruner.recovery.teachers=[{folder}]", cache=tmp_path / "cache")


def test_a_run_learns_from_the_baseline_of_another(run_config: Runs, tmp_path: Path) -> None:
    first = run_config("seed=1", folder=tmp_path / "first")
    baseline = tmp_path / "first" / first.baseline_model
    student = ("student=layers", "student.distillation.epochs=0.2")
    without = run_config(*student)
    made = run_config(*student, f"student.distillation.teachers=[{baseline}]")
    assert made.baseline_model == without.baseline_model
    outcomes = [stage.outcome for stage in made.stages if stage.name == "teacher_logits"]
    assert outcomes == ["cached", "computed"]
    assert [stage.outcome for stage in made.stages if stage.name == "student"] == ["computed"]


def test_without_the_teachers_part_there_is_nothing_to_average(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs alpha > 0, got alpha=0"):
        settings_of(
            "student", "layers", "student.distillation.teachers=[a]", "student.distillation.alpha=0"
        )
