"""Students in shapes of their own: what learns, and what may follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from compress.config.errors import ConfigError
from compress.device.cpu import Cpu
from compress.interfaces import TrainingData
from compress.measure.sparsity import check_history
from compress.student.layers import LayersStudent
from compress.student.pretrained import PretrainedStudent
from compress.teacher.artifact import ArtifactTeacher
from compress.transformer.blocks import known_blocks
from compress.transformer.stacks import token_table
from compress.transformer.stored_modules import FactorizedEmbedding
from tests.configs import settings_of
from tests.pruner.made import Contexts, Teachers, logits, pruner, round_trip, skeleton
from tests.shaping.made import noisy, sizes_of
from tests.slow import slow_but
from tests.tiny import torch_export

NARROW = ("neurons=20", "hidden=12", "embedding=6", "activation=relu", "positions=40")
MATCHING = {
    "logit": (),
    "hidden": ("matching.method=hidden",),
    "relation": (
        "matching.method=attention",
        "matching.attention=relation",
        "matching.relation_heads=4",
    ),
    "maps": ("matching.method=attention",),  # both models have two heads
}
# Pruners that may follow, with settings that fit the small shapes.
FOLLOWING = {
    "magnitude": (),
    "lowrank": (),
    "layers": ("drop=1",),
    "heads": (),
    "neurons": ("round_to=1",),
    "hidden": ("round_to=1",),
    "vocabulary": ("min_count=2",),
}


def layers(*overrides: str) -> LayersStudent:
    given = [f"student.{each}" for each in ("keep=2", "distillation.epochs=1", *overrides)]
    made = settings_of("student", "layers", *given)
    assert isinstance(made, LayersStudent)
    return made


def narrow(*overrides: str) -> LayersStudent:
    return layers(*(f"shape.{size}" for size in NARROW), *overrides)


@pytest.mark.parametrize("method", MATCHING)
def test_it_learns_from_the_wider_teacher(
    method: str, teachers: Teachers, context: Contexts
) -> None:
    teacher = teachers("bert")
    made = narrow(*MATCHING[method], "distillation.batch_size=8")
    foreseen, student = made.check(teacher.module), made.distill(context(teacher))
    assert sizes_of(foreseen) == sizes_of(student.module)
    untrained = narrow("distillation.epochs=0").distill(context(teacher))
    moved = [
        name
        for name, weight in untrained.module.named_parameters()
        if not torch.equal(weight, student.module.get_parameter(name))
    ]
    assert "bert.embeddings.word_embeddings.table.weight" in moved
    assert "bert.embeddings.word_embeddings.projection.weight" in moved
    notes = student.history[-1].notes
    assert 0 < notes["embedding_norm_kept"] < 1
    assert "curve" in notes


def test_a_smaller_vocabulary_learns_from_logits_alone(
    teachers: Teachers, context: Contexts
) -> None:
    teacher = teachers("bert")
    student = layers("shape.vocabulary=62", "distillation.batch_size=8").distill(context(teacher))
    assert len(student.tokenizer) == student.module.config.vocab_size == 62
    assert len(teacher.tokenizer) == 81
    notes = student.history[-1].notes
    assert (notes["tokens_before"], notes["tokens_after"]) == (1000, 62)
    assert notes["rows_with_other_pieces"] > 0
    for method in ("hidden", "attention", "multi_level"):
        with pytest.raises(ConfigError, match=f"must be null where matching.method={method} comp"):
            layers("shape.vocabulary=62", f"matching.method={method}")


def test_a_pretrained_student_is_cut_too(
    teachers: Teachers, context: Contexts, tmp_path: Path
) -> None:
    teacher, other = teachers("bert"), teachers("distilbert")
    other.module.save_pretrained(tmp_path)
    other.tokenizer.save_pretrained(tmp_path)
    sizes = (f"student.shape.{size}" for size in (*NARROW, "heads=1", "vocabulary=62"))
    made = settings_of("student", "pretrained", f"student.path={tmp_path}", *sizes)
    assert isinstance(made, PretrainedStudent)
    made.check(teacher.module)
    student = made.distill(context(teacher))
    block, table = known_blocks(student.module)[0], token_table(student.module)
    assert (block.heads, block.neurons, block.width) == (1, 20, 12)
    assert table is not None
    assert table.weight.shape == (62, 6)


@pytest.mark.parametrize("name", slow_but(("vocabulary", "hidden", "lowrank"), FOLLOWING))
def test_pruners_and_formats_may_follow(
    name: str, teachers: Teachers, context: Contexts, tmp_path: Path
) -> None:
    teacher = noisy(teachers("bert"))
    ctx = context(teacher)
    student = narrow("distillation.epochs=0").distill(ctx)
    made = pruner(name, *FOLLOWING[name])
    foreseen = made.check(narrow().check(skeleton(teacher)))
    pruned = made.prune(student, ctx)
    check_history(pruned.history, pruned.module.named_parameters())
    if made.foresees_shapes():
        assert sizes_of(foreseen) == sizes_of(pruned.module)
    embedding: Any = pruned.module.get_input_embeddings()
    assert isinstance(embedding, FactorizedEmbedding)
    rows, width = (67 if name == "vocabulary" else 1000), (9 if name == "hidden" else 12)
    assert embedding.table.weight.shape == (rows, 6)
    assert embedding.projection.weight.shape == (width, 6)
    round_trip(pruned, ctx, "int8_dynamic", tmp_path / "int8")


def test_it_can_teach(
    teachers: Teachers, context: Contexts, data: TrainingData, device: Cpu, tmp_path: Path
) -> None:
    teacher = noisy(teachers("bert"))
    student = narrow("distillation.epochs=0", "shape.vocabulary=62").distill(context(teacher))
    torch_export(student, settings_of("quantizer", "none"), tmp_path / "m")  # type: ignore[arg-type]
    settings = ArtifactTeacher(folder=str(tmp_path / "m"))
    made = settings.load(data, device, seed=0)
    ctx = context(made)
    assert torch.equal(logits(made, ctx), logits(student, ctx))
    smaller = layers("keep=1", "shape.neurons=10", "distillation.epochs=0")
    foreseen, small = smaller.check(settings.skeleton("classifier")), smaller.distill(ctx)
    assert sizes_of(foreseen) == sizes_of(small.module)
    with pytest.raises(ConfigError, match=r"embedding=4: .* has a factorized one"):
        layers("shape.embedding=4").check(settings.skeleton("classifier"))


@pytest.mark.parametrize("embeddings", ["none", "int8", "int4"])
def test_it_trains_with_rounded_tables(
    embeddings: str, teachers: Teachers, context: Contexts, tmp_path: Path
) -> None:
    teacher = teachers("bert")
    student = narrow("distillation.epochs=0").distill(context(teacher))
    overrides = ("training.epochs=1", "training.batch_size=8", f"embeddings={embeddings}")
    quantizer: Any = settings_of(
        "quantizer", "qat_int8", *(f"quantizer.{each}" for each in overrides)
    )
    trained = quantizer.prepare(student, context(teacher))
    linears = sum(isinstance(part, torch.nn.Linear) for part in trained.module.modules())
    assert trained.history[-1].notes["trained_linears"] == linears
    for name in ("table", "projection"):
        weight = f"bert.embeddings.word_embeddings.{name}.weight"
        pair = [model.module.get_parameter(weight) for model in (student, trained)]
        assert not torch.equal(*pair)
    round_trip(trained, context(teacher), "int8_dynamic", tmp_path / "int8")
