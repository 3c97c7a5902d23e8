"""Every yaml there is: found by glob, composed, constructed, and put to work on a tiny model."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from compress.build import build_run
from compress.config.construct import construct
from compress.config.errors import ConfigError, UserError
from compress.config.settings import Settings
from compress.costs.space import Costs
from compress.frontier.sizes import proposed_sizes
from compress.interfaces import CompressedModel, Pruner, Quantizer, StageContext, Student
from compress.measure.score import predict_all
from compress.measure.sparsity import check_history, live_zeros
from compress.quantizer.components.torch_format import TorchFormat
from compress.runtime.onnxruntime import OnnxRuntime
from compress.serve.folder import read_manifest
from compress.stage.pairs import every_quantizer
from compress.store.artifact import load
from compress.student.components.augmentation import Augmentation
from compress.transformer.torch_model import TorchModel
from tests.configs import ROOT, compose_config, needed, settings_of, yaml_names
from tests.slow import slow_but
from tests.tiny import IMAGE_ARCHITECTURES, torch_export
from tests.vocabularies import CLASSIFIER, make_tokenizer

TEXT_ARCHITECTURES = ("bert", "distilbert", "roberta", "electra", "mpnet", "gpt2", "llama")
# What is theirs alone is where their projections sit: tests/pruner/test_heads.py looks at that.
MORE = ("opt", "gpt_neox")
ARCHITECTURES = (*TEXT_ARCHITECTURES, *IMAGE_ARCHITECTURES, *MORE)


QUICK = ("bert", "mpnet", "gpt2", "llama", "vit")  # the others are much like one of these


def params(*quick: str) -> list[Any]:
    """Every architecture; those that are not named here are for the slow tests."""
    return slow_but(quick, ARCHITECTURES)


GROUPS = ("teacher", "student", "pruner", "quantizer", "task", "device", "cache", "tracker")
# One epoch of three steps: the first has no rate yet, the others learn.
SHORT = ("student.distillation.epochs=1", "student.distillation.batch_size=8")
SIZES = ("student.layers=2", "student.hidden=8", "student.heads=2", "student.neurons=null")
# What makes training end at once.
SUPERNET = ("student.supernet.epochs=1", "student.supernet.batch_size=8", "student.sub.depth=2")
QUICKLY = {"layers": SHORT, "scratch": (*SIZES, *SHORT), "supernet": (*SUPERNET, *SHORT)}
# What cannot be done, and the words that say so.
REFUSED = {
    **{(name, "mpnet"): "share one position bias per head" for name in ("heads", "chain")},
    **{("vocabulary", name): "needs a model that reads tokens" for name in IMAGE_ARCHITECTURES},
}
SHAPES_DEPEND_ON_ROWS = ("vocabulary",)
TORCH_FORMATS = [name for name, found in every_quantizer() if issubclass(found, TorchFormat)]
EVERY = [(group, name) for group in GROUPS for name in yaml_names(group)]

Teachers = Callable[[str], CompressedModel]
Contexts = Callable[[CompressedModel], StageContext]


@pytest.mark.parametrize(("group", "name"), EVERY)
def test_every_yaml_constructs_one_class_named_in_its_target(group: str, name: str) -> None:
    cfg = compose_config(f"{group}={name}", *needed(group, name))
    made: Settings = construct(cfg, group, Settings)
    target = cfg[group]._target_
    assert target == f"{type(made).__module__}.{type(made).__qualname__}"
    assert made.describe()["kind"] == made.kind


@pytest.mark.parametrize(("group", "name"), EVERY)
def test_every_yaml_says_what_it_is(group: str, name: str) -> None:
    assert (ROOT / "conf" / group / f"{name}.yaml").read_text().startswith("# ")


@pytest.mark.parametrize("name", yaml_names("student/augmentation"))
def test_every_augmentation_adds_rows(
    name: str, teacher: CompressedModel, context: Contexts
) -> None:
    made = settings_of("student", "layers", f"+student/augmentation={name}").augmentation  # type: ignore[attr-defined]
    assert isinstance(made, Augmentation)
    assert (ROOT / "conf" / "student" / "augmentation" / f"{name}.yaml").read_text()[:2] == "# "
    made.check(teacher.module)
    inputs = ("input_ids", "attention_mask")
    tokens = make_tokenizer("wordpiece", CLASSIFIER, inputs=inputs, pads=True, side="right")
    teacher = replace(teacher, tokenizer=tokens)  # knows more than 15 words
    rows = context(teacher).data.train
    more = made.augment(rows, teacher, seed=0)
    assert len(more) == (1 + made.copies) * len(rows)
    assert torch.equal(more.labels, rows.labels.repeat(1 + made.copies))
    texts = [more.columns[0][first : first + len(rows)] for first in (0, len(rows))]
    assert texts[0] == rows.columns[0] != texts[1]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", yaml_names("search"))
def test_every_search_composes_and_builds(name: str) -> None:
    language = ("task=wikitext2", "teacher.architecture=llama")
    rows = language if name.endswith("_lm") else ("task.max_length=32",)
    words = (f"+search={name}", "teacher=tiny_random", *rows)
    sizes = proposed_sizes(words, lambda found: compose_config(*found))
    settings = [word for word in sizes if not word.startswith("student.sub.")]  # dimensions
    assert len(build_run(compose_config(*words, *settings)).objectives) >= 2


@pytest.mark.parametrize("name", yaml_names("costs"))
def test_every_table_of_costs_composes(name: str) -> None:
    made = construct(compose_config(f"+costs={name}"), "costs", Costs)
    assert made.space.corners()


@pytest.mark.parametrize("architecture", params(*QUICK))
@pytest.mark.parametrize("name", yaml_names("pruner"))
def test_pruner_keeps_the_contract(
    name: str, architecture: str, teachers: Teachers, context: Contexts, tmp_path: Path
) -> None:
    teacher = teachers(architecture)
    before = {k: v.clone() for k, v in teacher.module.state_dict().items()}
    pruner = settings_of("pruner", name)
    assert isinstance(pruner, Pruner)
    skeleton = copy.deepcopy(teacher.module).to("meta")
    if (name, architecture) in REFUSED:
        with pytest.raises(ConfigError, match=REFUSED[name, architecture]):
            pruner.check(skeleton)
        return
    skeleton = pruner.check(skeleton)
    pruned = pruner.prune(teacher, context(teacher))
    assert all(torch.equal(before[k], v) for k, v in teacher.module.state_dict().items())
    check_history(pruned.history, pruned.module.named_parameters())
    if name not in SHAPES_DEPEND_ON_ROWS:
        shapes = [
            {k: v.shape for k, v in m.state_dict().items()} for m in (skeleton, pruned.module)
        ]
        assert shapes[0] == shapes[1], "check() predicts the shapes"
    _check_result(teacher, pruned, name, context)
    _check_round_trip(pruned, settings_of("quantizer", "none"), context(teacher), tmp_path / "m")


@pytest.mark.parametrize("name", [n for n in yaml_names("pruner") if n != "none"])
def test_recovery_trains_and_holds_zeros_and_shapes(
    name: str, teacher: CompressedModel, context: Contexts
) -> None:
    recovery = ["epochs=1", "batch_size=8", "learning_rate=0.01"]
    bare, trained = (
        settings_of("pruner", name, *overrides).prune(teacher, context(teacher))  # type: ignore[attr-defined]
        for overrides in ([], [f"pruner.recovery.{setting}" for setting in recovery])
    )
    moved = 0
    for weight, other in zip(bare.module.parameters(), trained.module.parameters(), strict=True):
        assert weight.shape == other.shape
        moved += int((weight != other).sum())
    assert moved > 0
    check_history(trained.history, trained.module.named_parameters())
    for weight in live_zeros(bare.history):
        zeros = [made.module.get_parameter(weight) == 0 for made in (bare, trained)]
        assert torch.equal(*zeros)


@pytest.mark.parametrize("architecture", params(*TEXT_ARCHITECTURES, *IMAGE_ARCHITECTURES))
@pytest.mark.parametrize("name", [n for n in yaml_names("student") if n != "pretrained"])
def test_student_keeps_the_contract(
    name: str, architecture: str, teachers: Teachers, context: Contexts
) -> None:
    teacher = teachers(architecture)
    before = {k: v.clone() for k, v in teacher.module.state_dict().items()}
    student = settings_of("student", name, *needed("student", name), *QUICKLY.get(name, ()))
    assert isinstance(student, Student)
    skeleton = student.check(teacher.module.to("cpu"))
    made = student.distill(context(teacher))
    assert all(torch.equal(before[k], v) for k, v in teacher.module.state_dict().items())
    shapes = {k: v.shape for k, v in skeleton.state_dict().items()}
    assert shapes == {k: v.shape for k, v in made.module.state_dict().items()}
    _check_result(teacher, made, name, context)


@pytest.mark.parametrize("architecture", params(*QUICK))
@pytest.mark.parametrize("name", TORCH_FORMATS)
def test_quantizer_reloads_what_it_wrote(
    name: str, architecture: str, teachers: Teachers, context: Contexts, tmp_path: Path
) -> None:
    teacher = teachers(architecture)
    quantizer = settings_of("quantizer", name)
    assert isinstance(quantizer, Quantizer)
    prepared = quantizer.prepare(teacher, context(teacher))
    _check_round_trip(prepared, quantizer, context(teacher), tmp_path / "model")


# Exporting takes seconds, so only one model here.
@pytest.mark.parametrize("architecture", params("bert"))
@pytest.mark.parametrize("name", [n for n in yaml_names("quantizer") if n not in TORCH_FORMATS])
def test_a_format_that_torch_lacks_reloads_from_onnx_runtime(
    name: str, architecture: str, teachers: Teachers, context: Contexts, tmp_path: Path
) -> None:
    teacher = teachers(architecture)
    quantizer = settings_of("quantizer", name)
    assert isinstance(quantizer, Quantizer)
    ctx = context(teacher)
    exported = OnnxRuntime().export(teacher, quantizer, tmp_path, ctx)
    pair = [predict_all(m, ctx.data.validation, 4) for m in (exported.reference, load(tmp_path))]
    # Logits are up to 0.08 there, and 0.011 off at most.
    assert (pair[0] - pair[1]).abs().max() < 0.02
    check_history(read_manifest(tmp_path).history, load(tmp_path).weights())


def test_an_unknown_target_is_refused() -> None:
    cfg = compose_config("teacher=tiny_random", "pruner._target_=os.system")
    with pytest.raises(UserError, match=r"os\.system"):
        build_run(cfg)


def test_a_yaml_of_another_group_is_refused() -> None:
    cfg = compose_config("teacher=tiny_random", "pruner._target_=compress.student.none.NoStudent")
    with pytest.raises(UserError, match="pruner must be a Pruner, got NoStudent"):
        build_run(cfg)


def _check_result(
    teacher: CompressedModel, made: CompressedModel, name: str, context: Contexts
) -> None:
    if name == "none":
        assert made is teacher
        return
    assert len(made.history) > len(teacher.history)
    assert made.digest == ""
    rows = context(teacher).data.validation
    assert predict_all(TorchModel(made.module, made.tokenizer, "cpu"), rows, 4).isfinite().all()


def _check_round_trip(
    model: CompressedModel, quantizer: Settings, ctx: StageContext, folder: Path
) -> None:
    assert isinstance(quantizer, Quantizer)
    exported = torch_export(model, quantizer, folder)
    reloaded = load(folder)
    pair = [predict_all(m, ctx.data.validation, 4) for m in (exported, reloaded)]
    assert torch.equal(*pair)
    assert pair[0].isfinite().all()
    check_history(read_manifest(folder).history, reloaded.weights())
