from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from compress.interfaces import CompressedModel, StageContext
from compress.student.layers import LayersStudent
from compress.transformer.stacks import evenly_spaced, find_stack
from tests.configs import settings_of


def layers(*overrides: str) -> LayersStudent:
    return settings_of("student", "layers", *overrides)


@pytest.mark.parametrize(
    ("count", "depth", "kept"),
    [
        (1, 6, (0,)),
        (2, 6, (0, 5)),
        (3, 6, (0, 2, 5)),
        (6, 6, (0, 1, 2, 3, 4, 5)),
        (4, 12, (0, 4, 7, 11)),
    ],
)
def test_evenly_spaced_by_hand(count: int, depth: int, kept: tuple[int, ...]) -> None:
    assert evenly_spaced(count, depth) == kept


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "roberta"])
def test_student_starts_with_the_teachers_layers(
    architecture: str,
    teachers: Callable[[str], CompressedModel],
    context: Callable[[CompressedModel], StageContext],
) -> None:
    teacher = teachers(architecture)
    student = layers("student.keep=[0,3]", "student.distillation.epochs=0").distill(
        context(teacher)
    )
    theirs, ours = find_stack(teacher.module).blocks, find_stack(student.module).blocks
    assert student.module.config.num_hidden_layers == len(ours) == 2
    assert teacher.module.config.num_hidden_layers == len(theirs) == 4
    for kept, index in zip(ours, (0, 3), strict=True):
        pairs = zip(kept.parameters(), theirs[index].parameters(), strict=True)
        assert all(torch.equal(*pair) for pair in pairs)
    assert student.history[-1].notes == {"teacher_layers": [0, 3]}


@pytest.mark.parametrize(("depth", "architecture"), [(1, "bert"), (3, "gpt2"), (4, "llama")])
def test_students_of_any_depth_learn_from_the_layers_above(
    depth: int,
    architecture: str,
    teachers: Callable[[str], CompressedModel],
    context: Callable[[CompressedModel], StageContext],
) -> None:
    made = layers(
        f"student.keep={depth}", "student.matching.method=hidden",
        "student.matching.layer_map=last", "student.distillation.epochs=0.5",
    ).distill(context(teachers(architecture)))  # fmt: skip
    assert find_stack(made.module).depth == depth
    assert made.history[-1].notes["layer_map"] == [0, 1, 2, 3][-depth:]


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("student.keep=[]", r"ascending order, got \[\]"),
        ("student.keep=[2,1]", r"ascending order, got \[2, 1\]"),
        ("student.keep=[-1,1]", r"ascending order, got \[-1, 1\]"),
        ("student.keep=two", "an integer or a list"),
    ],
)
def test_bad_keep_is_refused(override: str, reason: str) -> None:
    with pytest.raises(Exception, match=reason):
        layers(override)
