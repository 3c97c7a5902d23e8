from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor

from compress.config.errors import ConfigError
from compress.interfaces import CompressedModel
from compress.training.features import (
    AttentionMaps,
    HiddenStates,
    Relations,
    attention_vectors,
    hidden_loss,
    log_relation,
    map_loss,
    relation_loss,
    split_heads,
)
from compress.training.matching import watching
from compress.transformer.blocks import known_blocks
from tests.pruner.made import Teachers
from tests.tiny import tiny_teacher

# One row of three tokens, the last of them padding.
MASK = torch.tensor([[True, True, False]])
KL = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)

TOLD_APART = ("bert", "distilbert", "mpnet", "gpt2", "llama", "opt", "gpt_neox")


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_hidden_loss_by_hand() -> None:
    student = torch.tensor([[[1.0, 2.0], [0.0, 0.0], [100.0, 100.0]]])
    teacher = torch.tensor([[[1.0, 4.0], [3.0, 1.0], [0.0, 0.0]]])
    # Tokens: (0 + 4) / 2 and (9 + 1) / 2; the padding would add 10000.
    assert float(hidden_loss(student, teacher, MASK)) == pytest.approx((2 + 5) / 2)
    assert float(hidden_loss(student, teacher, None)) == pytest.approx((2 + 5 + 10000) / 3)


def test_map_loss_by_hand() -> None:
    student = torch.tensor([[[[0.25, 0.75, 0.0], [1.0, 0.0, 0.0], [0.9, 0.1, 0.0]]]])
    teacher = torch.tensor([[[[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.1, 0.9, 0.0]]]])
    # The second token agrees, the third is padding, and columns without probability are no NaN.
    assert float(map_loss(student, teacher, MASK)) == pytest.approx(KL / 2)
    assert float(map_loss(student, teacher, None)) > KL / 2
    two_heads = (torch.cat([student, teacher], dim=1), torch.cat([teacher, teacher], dim=1))
    assert float(map_loss(*two_heads, MASK)) == pytest.approx(KL / 4)


def test_relation_by_hand() -> None:
    # Width 4 in one head: scores are halved. ln 9 · 2 / 2 gives odds of 9 to 1.
    left = torch.tensor([[[[2 * math.log(9), 0.0, 0.0, 0.0], [0.0] * 4, [5.0] * 4]]])
    right = torch.tensor([[[[1.0, 0.0, 0.0, 0.0], [0.0] * 4, [7.0] * 4]]])
    made = log_relation(left, right, MASK)[0, 0]
    expected = torch.tensor([[0.9, 0.1], [0.5, 0.5]])
    assert torch.allclose(made[:2, :2].exp(), expected)
    assert made[:, 2].tolist() == [0.0, 0.0, 0.0]


def test_relation_loss_by_hand_with_other_widths() -> None:
    # Teacher odds 1 to 1; student odds 1 to 3 in its first token; the padding differs wildly.
    student = torch.tensor([[[[math.log(3)], [0.0], [50.0]]]])
    keys = torch.tensor([[[[0.0], [1.0], [9.0]]]])
    teacher = torch.zeros(1, 1, 3, 4)
    made = relation_loss((student, keys), (teacher, teacher), MASK)
    assert float(made) == pytest.approx(KL / 2)


def test_padding_changes_nothing() -> None:
    """Two rows of 5 and 3 tokens: the mean over all 8."""
    theirs, ours = random(2, 2, 5, 4), random(2, 2, 5, 4, seed=1)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    full = float(relation_loss((ours, ours), (theirs, theirs), mask))
    for vectors in (theirs, ours):
        vectors[1, :, 3:] = 30.0
    assert float(relation_loss((ours, ours), (theirs, theirs), mask)) == pytest.approx(full)
    alone = [
        float(relation_loss((o, o), (t, t), None)) * tokens
        for o, t, tokens in (
            (ours[:1], theirs[:1], 5),
            (ours[1:, :, :3], theirs[1:, :, :3], 3),
        )
    ]
    assert full == pytest.approx(sum(alone) / 8)


def test_gradients_reach_the_student_and_stay_finite() -> None:
    ours = random(1, 2, 3, 4).requires_grad_()
    theirs = random(1, 2, 3, 4, seed=1)
    relation_loss((ours, ours), (theirs, theirs), MASK).backward()
    assert ours.grad is not None
    assert ours.grad.isfinite().all()
    assert ours.grad[0, :, :2].abs().min() > 0
    assert ours.grad[0, :, 2].abs().max() == 0


def test_split_heads_takes_consecutive_parts() -> None:
    vectors = torch.arange(8.0).view(1, 2, 4)
    heads = split_heads(vectors, 2)
    assert heads[0, 1].tolist() == [[2.0, 3.0], [6.0, 7.0]]


@torch.no_grad()
def run(*modules: torch.nn.Module) -> Tensor:
    """Runs the models on one padded batch, with attention maps; returns the mask."""
    ids = torch.randint(4, 60, (2, 6), generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    for module in modules:
        module(input_ids=ids, attention_mask=mask, output_attentions=True)
    return mask.bool()


@pytest.mark.parametrize("architecture", TOLD_APART)
def test_a_student_equal_to_the_teacher_has_no_loss(architecture: str, teachers: Teachers) -> None:
    pair = [copy.deepcopy(teachers(architecture).module) for _ in range(2)]
    for module in pair:
        module.set_attn_implementation("eager")
    layers = range(4)
    features = [
        HiddenStates(*pair, layers, 0, "cpu"),
        AttentionMaps(*pair, layers),
        Relations(*pair, layers, None),
        Relations(*pair, layers, 4),
    ]
    generator = torch.Generator().manual_seed(0)
    with watching([part for feature in features for part in feature.watched]) as seen:
        mask = run(*pair)
        same = [float(feature.loss(seen, mask)) for feature in features]
        with torch.no_grad():
            for parameter in pair[1].parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
        run(*pair)
        other = [float(feature.loss(seen, mask)) for feature in features]
    assert same == pytest.approx([0, 0, 0, 0], abs=1e-6)
    assert min(other) > 1e-4


def test_shared_keys_are_repeated_for_their_queries(
    teachers: Teachers,
) -> None:
    """A llama of 4 query heads over 2 keys."""
    module = teachers("llama").module
    block = known_blocks(module)[3]
    with watching(Relations(module, module, [3], None).watched) as seen:
        run(module)
        vectors = attention_vectors(block, seen, None)
        query, key = (seen[block.projection(f"self_attn.{name}_proj")] for name in "qk")
    assert torch.equal(vectors["query"], split_heads(query, 4))
    assert torch.equal(vectors["key"], split_heads(key, 2)[:, [0, 0, 1, 1]])


def test_fused_projections_are_taken_apart(teachers: Teachers) -> None:
    module = teachers("gpt2").module
    with watching(Relations(module, module, [3], None).watched) as seen:
        run(module)
        (fused,) = seen.values()
        vectors = attention_vectors(known_blocks(module)[3], seen, None)
    assert torch.equal(vectors["value"][:, 1], fused[..., 40:48])


def test_projections_are_seeded_and_only_where_widths_differ(teacher: CompressedModel) -> None:
    wide = tiny_teacher()
    narrow = type(wide)(architecture="bert", layers=2, hidden=8, heads=2, finetune=wide.finetune)
    student = narrow._module("classifier", {})
    first, again, other = (
        HiddenStates(teacher.module, student, [1, 3], seed, "cpu").parameters for seed in (0, 0, 1)
    )
    assert [tuple(p.shape) for p in first] == [(8, 16), (8, 16)]
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert not torch.equal(first[0], first[1])
    assert HiddenStates(teacher.module, teacher.module, [0, 1, 2, 3], 0, "cpu").parameters == ()


def test_unequal_heads_are_refused_where_heads_are_compared(teacher: CompressedModel) -> None:
    wide = tiny_teacher()
    other = type(wide)(architecture="bert", layers=2, hidden=16, heads=4, finetune=wide.finetune)
    student = other._module("classifier", {})
    pair = (teacher.module, student, [1, 3])
    with pytest.raises(ConfigError, match=r"attention=maps needs equal .* got 4 .* and 2"):
        AttentionMaps(*pair)
    with pytest.raises(ConfigError, match=r"relation_heads=null needs equal .* got 4 .* and 2"):
        Relations(*pair, None)
    with pytest.raises(ConfigError, match=r"relation_heads must divide .* got 3 for a width of 16"):
        Relations(*pair, 3)
    assert len(Relations(*pair, 8).watched) == 6
