"""A super-net is trained once; its sub-nets are cut out, scored, trained on, and deployed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from compress.config.errors import ConfigError
from compress.core.monitor import Monitor
from compress.device.cpu import Cpu
from compress.interfaces import CompressedModel, StageContext, TrainingData
from compress.measure.score import score
from compress.records.curve import curves
from compress.store.cache import StageStore
from compress.student.components.word_noise import WordNoise
from compress.student.supernet import SupernetStudent
from compress.tracker.components.tracking import LiveCurves
from compress.transformer.blocks import known_blocks
from tests.configs import settings_of
from tests.conftest import Runs
from tests.pruner.made import Contexts, Teachers, logits
from tests.shaping.made import sizes_of, sub
from tests.slow import slow
from tests.tiny import make_split

SHORT = ("supernet.epochs=1", "supernet.batch_size=8", "supernet.learning_rate=0.01")
SPACE = ("choices.depths=[1,2]", "choices.hidden=[12]", "choices.heads=[1]", "choices.neurons=[20]")
WIDTHS = ("hidden", "heads", "neurons")
SMALL = ("sub.depth=2", "sub.hidden=12", "sub.heads=1", "sub.neurons=20")


def supernet(*overrides: str) -> SupernetStudent:
    made = settings_of(
        "student", "supernet", *(f"student.{each}" for each in (*SHORT, *SPACE, *overrides))
    )
    assert isinstance(made, SupernetStudent)
    return made


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The trainings of super-nets from here on."""
    begun, train = [], SupernetStudent.train_net

    def counted(self: SupernetStudent, *args: Any) -> CompressedModel:
        begun.append(str(self.sub))
        return train(self, *args)

    monkeypatch.setattr(SupernetStudent, "train_net", counted)
    return begun


def test_sub_nets_share_one_training(
    teachers: Teachers, context: Contexts, trainings: list[str]
) -> None:
    ctx = context(teachers("bert"))
    made = {
        overrides: supernet(*overrides).distill(ctx)
        for overrides in (
            (),
            SMALL,
            ("sub.depth=1",),
            ("sub.depth=4",),
            ("sub.depth=1", "distillation.epochs=1"),
        )
    }
    assert len(trainings) == 1
    for overrides in (("choices.depths=[2]",), ("supernet.sampled=1",), ("shape.activation=relu",)):
        supernet(*overrides).distill(ctx)
    assert len(trainings) == 4
    whole, same = made[()], made[("sub.depth=4",)]
    assert torch.equal(logits(whole, ctx), logits(same, ctx))
    shallow, tuned = made[("sub.depth=1",)], made[("sub.depth=1", "distillation.epochs=1")]
    assert sizes_of(shallow.module) == sizes_of(tuned.module)
    assert not torch.equal(logits(shallow, ctx), logits(tuned, ctx))


def test_a_sub_net_is_the_first_parts_of_the_trained_super_net(
    teachers: Teachers, context: Contexts
) -> None:
    ctx = context(teachers("bert"))
    whole, small = supernet().distill(ctx), supernet(*SMALL).distill(ctx)
    foreseen = supernet(*SMALL).check(teachers("bert").module.to("meta"))
    assert sizes_of(small.module) == sizes_of(foreseen)
    for number, block in zip((0, 3), known_blocks(small.module), strict=True):
        assert (block.heads, block.neurons, block.width) == (1, 20, 12)
        theirs = known_blocks(whole.module)[number].module.intermediate.dense.weight
        assert torch.equal(block.module.intermediate.dense.weight, theirs[:20, :12])


def test_the_record_has_the_layers_and_both_curves(teachers: Teachers, context: Contexts) -> None:
    overrides = ("layers=[0,1,3]", "choices.depths=[2]", "sub.depth=2", "distillation.epochs=1")
    history = supernet(*overrides).distill(context(teachers("bert"))).history
    notes, settings = history[-1].notes, history[-1].settings
    assert notes["teacher_layers"] == [0, 3]
    assert settings["sub"]["depth"] == 2
    found = dict(curves([vars(step) for step in history]))
    assert list(found) == ["supernet", "student"]
    assert [point.step for point in found["supernet"]] == [1, 2, 3]
    assert found["student"][-1].step == 1


def test_its_trainings_are_told_as_they_are_recorded(teachers: Teachers, context: Contexts) -> None:
    ctx = context(teachers("bert"))
    told: list[str] = []
    live = LiveCurves(Monitor(), lambda name, _: told.append(name))
    ctx.store._monitor = live  # type: ignore[attr-defined]
    live.stage("student")
    history = supernet("distillation.epochs=1").distill(replace(ctx, monitor=live)).history
    assert list(dict.fromkeys(told)) == list(dict(curves([vars(step) for step in history])))


@pytest.mark.parametrize(
    "setting", ["average=0.9", *slow(["dropout=0.0", "logit_mse=0.1", "patience=1"])]
)
def test_settings_of_a_training_are_those_of_a_super_net_too(
    setting: str, teachers: Teachers, context: Contexts
) -> None:
    ctx = context(teachers("bert"))
    plain, other = supernet(), supernet(f"supernet.{setting}")
    made = [logits(each.trained(ctx), ctx) for each in (plain, other)]
    # Of a single epoch early stopping keeps the last weights.
    assert torch.equal(*made) == (setting == "patience=1")


def test_it_repeats_exactly(
    teachers: Teachers, data: TrainingData, device: Cpu, tmp_path: Path
) -> None:
    teacher, made = teachers("bert"), []
    for name in ("one", "other"):
        torch.manual_seed(len(name))
        ctx = StageContext(teacher, data, device, 0, StageStore(tmp_path / name, device, 0))
        made.append(logits(supernet(*SMALL).distill(ctx), ctx))
    assert torch.equal(*made)


def test_every_sub_net_learns_the_task(teachers: Teachers, context: Contexts) -> None:
    student, shapes = supernet("supernet.epochs=12", "supernet.alpha=0"), [sub(), sub(depth=1)]
    found = list(student.evaluate_subnets(context(teachers("bert")), shapes))
    assert [(shape, scored.value) for shape, scored in found] == [(each, 1.0) for each in shapes]


def test_scores_are_those_of_the_sub_nets(
    teachers: Teachers, context: Contexts, trainings: list[str]
) -> None:
    ctx = context(teachers("bert"))
    asked = [sub(depth=1), sub(), sub(depth=2, hidden=12, heads=1, neurons=20)]
    found = list(supernet().evaluate_subnets(ctx, asked))
    assert [shape for shape, _ in found] == asked
    small = supernet(*SMALL).distill(ctx)
    kept = logits(small, ctx)
    expected = score(kept, ctx.data.validation, 64, ctx.data.problem)
    assert found[-1][1] == expected
    assert len(trainings) == 1


def test_scores_of_sub_nets_that_were_not_trained_are_refused_before_any(
    teachers: Teachers, context: Contexts, trainings: list[str]
) -> None:
    with pytest.raises(ConfigError, match=r"student\.sub\.neurons must be one of 20, 32, got 9"):
        supernet().evaluate_subnets(context(teachers("bert")), [sub(), sub(neurons=9)])
    assert not trainings


@pytest.mark.parametrize(
    ("overrides", "architecture", "message"),
    [
        (("layers=5",), "bert", r"student\.layers=5: the teacher has only 4 layers"),
        (("choices.depths=[5]",), "bert", r"student\.choices\.depths must be at most 4, the super"),
        (
            ("layers=[0]", "choices.depths=[1]", *(f"choices.{axis}=[]" for axis in WIDTHS)),
            "bert",
            r"student\.choices has no size below the super-net's, expected one or more",
        ),
        (("sub.depth=3",), "bert", r"student\.sub\.depth must be one of 1, 2, 4, got 3"),
        ((), "mpnet", r"student\.choices\.heads=1: heads of MPNet cannot be cut"),
        ((), "llama", r"student\.choices\.heads=1: expected a multiple of 2, as many queries"),
    ],
)
def test_what_cannot_be_is_refused_before_work(
    overrides: tuple[str, ...], architecture: str, message: str, teachers: Teachers
) -> None:
    with pytest.raises(ConfigError, match=message):
        supernet(*overrides).check(teachers(architecture).module.to("meta"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("supernet.epochs=0",), r"supernet\.epochs must be > 0, got 0: no sub-net has learned"),
        (("layers=0",), r"student\.layers must be at least 1 layer, got 0"),
        (("layers=[2,1]",), r"student\.layers must list layers in ascending order, got \[2, 1\]"),
        (("matching.method=hidden",), r"matching\.method must be logit where distillation\.epochs"),
        (
            ("supernet.targets=labels",),
            r"supernet\.targets must be one of teacher, largest; got labels",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    overrides: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        supernet(*overrides)


def test_a_sub_net_is_trained_on_with_matching(teachers: Teachers, context: Contexts) -> None:
    overrides = (*SMALL, "distillation.epochs=1", "matching.method=hidden")
    notes = supernet(*overrides).distill(context(teachers("bert"))).history[-1].notes
    assert notes["layer_map"] == [1, 3]
    assert {"curve", "supernet_curve"} <= notes.keys()


def test_augmented_rows_teach_the_super_net(teachers: Teachers, context: Contexts) -> None:
    noise = WordNoise(copies=1, swap=0.1, deletion=0.1)
    student = replace(supernet(), augmentation=noise)
    notes = student.distill(context(teachers("bert"))).history[-1].notes
    assert notes["supernet_curve"][-1]["step"] == 6  # 24 rows and as many copies, by eight


def test_transfer_text_teaches_the_super_net(teachers: Teachers, context: Contexts) -> None:
    ctx = context(teachers("bert"))
    ctx = replace(ctx, data=replace(ctx.data, unlabeled=make_split(16, "transfer")))
    notes = supernet().distill(ctx).history[-1].notes
    assert notes["supernet_curve"][-1]["step"] == 5  # 24 rows and 16, by eight


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["cpu", "cpu_onnxruntime", "cpu_openvino"])
@pytest.mark.parametrize("quantizer", ["none", "int8_dynamic"])
def test_every_runtime_runs_a_sub_net(quantizer: str, runtime: str, run_config: Runs) -> None:
    if (quantizer, runtime) == ("int8_dynamic", "cpu_openvino"):
        quantizer = "int8_static"
    overrides = ("supernet.epochs=1", "choices.hidden=[24]", "choices.neurons=[20]")
    student = [f"student.{each}" for each in (*overrides, "sub.depth=2", "sub.hidden=24")]
    record = run_config("student=supernet", *student, f"device={runtime}", f"quantizer={quantizer}")
    notes = record.history[-1 if quantizer == "none" else -2]["notes"]
    assert "supernet_curve" in notes
    assert record.metrics.runtime.replace("_", "") in runtime.replace("cpu", "torch")
