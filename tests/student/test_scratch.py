from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch

from compress.config.errors import ConfigError
from compress.interfaces import CompressedModel, StageContext
from compress.student.scratch import ScratchStudent
from compress.transformer.blocks import known_blocks
from tests.configs import settings_of

SMALL = ("layers=2", "hidden=8", "heads=2", "neurons=null", "distillation.epochs=0.5")
Teachers = Callable[[str], CompressedModel]
Contexts = Callable[[CompressedModel], StageContext]


def scratch(*overrides: str) -> ScratchStudent:
    given = [f"student.{override}" for override in (*SMALL, *overrides)]
    return settings_of("student", "scratch", *given)


@pytest.mark.parametrize(
    "architecture", ["bert", "distilbert", "roberta", "electra", "mpnet", "gpt2", "llama", "vit"]
)
def test_a_small_student_of_every_architecture_learns(
    architecture: str, teachers: Teachers, context: Contexts
) -> None:
    teacher = teachers(architecture)
    settings = scratch(
        "matching.method=multi_level", "matching.attention=relation", "matching.relation_heads=4"
    )
    skeleton = settings.check(teacher.module)
    made = settings.distill(context(teacher))
    assert {p.device.type for p in skeleton.parameters()} == {"meta"}
    shapes = [{n: p.shape for n, p in m.named_parameters()} for m in (skeleton, made.module)]
    assert shapes[0] == shapes[1]
    assert type(made.module) is type(teacher.module)
    blocks = known_blocks(made.module)
    sizes = {(b.width, b.heads, b.head_size, b.neurons) for b in blocks}
    assert sizes == {(8, 2, 4, 16)}  # the teachers' neurons are twice their width
    assert len(blocks) == made.module.config.num_hidden_layers == 2
    assert made.tokenizer is teacher.tokenizer


def test_queries_share_keys_as_in_the_teacher(teachers: Teachers) -> None:
    made = scratch("heads=4", "hidden=16", "neurons=20").check(teachers("llama").module)
    block = known_blocks(made)[0]
    assert (block.heads, block.key_value_heads, block.neurons) == (4, 2, 20)


def test_electra_keeps_the_width_of_its_embeddings(teachers: Teachers) -> None:
    theirs, made = teachers("electra").module, scratch().check(teachers("electra").module)
    assert made.get_input_embeddings().weight.shape == theirs.get_input_embeddings().weight.shape


def test_weights_follow_the_seed_and_leave_other_draws_alone(
    teacher: CompressedModel, context: Contexts
) -> None:
    ctx = context(teacher)
    first, _, _ = scratch().start(ctx)
    drawn = torch.rand(1)
    torch.rand(5)
    again, _, _ = scratch().start(context(teacher))
    assert torch.equal(torch.rand(1), drawn)
    pairs = zip(first.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("layers=0", "layers must be > 0, got 0"),
        ("heads=3", "heads must divide hidden=8, got 3"),
        ("neurons=-1", "neurons must be > 0 or null, got -1"),
        ("distillation.epochs=0", "epochs must be > 0, got 0: its weights are random"),
    ],
)
def test_bad_sizes_are_refused(override: str, reason: str) -> None:
    with pytest.raises(Exception, match=reason):
        scratch(override)


def test_sizes_that_a_decoder_cannot_have_are_refused(teachers: Teachers) -> None:
    module = teachers("llama").module
    with pytest.raises(ConfigError, match="multiple of 2, the teacher's queries per key, got 1"):
        scratch("heads=1").check(module)
    with pytest.raises(ConfigError, match="must be even for rotary positions, got 1"):
        scratch("heads=8").check(module)


def test_layers_of_several_kinds_are_refused(teachers: Teachers) -> None:
    module = copy.deepcopy(teachers("llama").module)
    module.config.layer_types = ["full_attention"] * 4
    assert scratch().check(module).config.layer_types == ["full_attention"] * 2
    module.config.layer_types = ["full_attention", "sliding_attention"] * 2
    with pytest.raises(ConfigError, match="whose layers are all alike"):
        scratch().check(module)


def test_maps_of_unequal_heads_are_refused_up_front(teacher: CompressedModel) -> None:
    settings = scratch("matching.method=attention", "heads=4")
    with pytest.raises(ConfigError, match=r"needs equal numbers of heads, got 4 .* and 2"):
        settings.check(teacher.module)
