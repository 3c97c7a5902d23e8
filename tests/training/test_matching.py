from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compress.config.errors import ConfigError
from compress.interfaces import CompressedModel, StageContext
from compress.training.matching import (
    METHODS,
    Matching,
    check_same_tokens,
    even_layers,
    last_layers,
    matching_objective,
)
from compress.training.train import Training, train_
from compress.transformer.blocks import known_blocks
from tests.configs import settings_of
from tests.pruner.made import Contexts, Teachers
from tests.tiny import PLAIN, make_split, tiny_teacher


def student(*overrides: str) -> Any:
    given = [f"student.{override}" for override in overrides]
    few = ["student.distillation.epochs=1", "student.distillation.batch_size=8"]
    return settings_of("student", "layers", *few, *given)


def matching(*overrides: str) -> Matching:
    made: Matching = student(*(f"matching.{override}" for override in overrides)).matching
    return made


def same_for_all(logits: Tensor, inputs: Mapping[str, Tensor], rows: Tensor) -> Tensor:
    """A loss on logits that is 5 and pulls nowhere."""
    return 5 + 0 * logits.sum()


def losses(
    ctx: StageContext, module: nn.Module, overrides: list[str], **inputs: Tensor
) -> tuple[float, dict[str, Tensor]]:
    """The loss of one batch without dropout, and the gradients of the student by name."""
    module = copy.deepcopy(module).eval()
    if not inputs:
        split = ctx.data.train
        rows = split.encode(ctx.teacher.tokenizer).remove_columns("length")
        inputs = split.collate(ctx.teacher.tokenizer, [rows[i] for i in range(4)])
    with matching_objective(matching(*overrides), same_for_all, module, ctx) as objective:
        loss = objective.loss(module, dict(inputs), torch.arange(4))
        loss.backward()
    gradients = {n: p.grad for n, p in module.named_parameters() if p.grad is not None}
    return loss.item(), gradients


@pytest.mark.parametrize(
    ("depth", "limit", "even", "last"),
    [
        (6, 12, (1, 3, 5, 7, 9, 11), (6, 7, 8, 9, 10, 11)),
        (3, 12, (3, 7, 11), (9, 10, 11)),
        (3, 6, (1, 3, 5), (3, 4, 5)),
        (2, 6, (2, 5), (4, 5)),
        (3, 4, (0, 2, 3), (1, 2, 3)),
        (2, 5, (2, 4), (3, 4)),
        (1, 4, (3,), (3,)),
        (4, 4, (0, 1, 2, 3), (0, 1, 2, 3)),
    ],
)
def test_layer_maps_by_hand(
    depth: int, limit: int, even: tuple[int, ...], last: tuple[int, ...]
) -> None:
    assert even_layers(depth, limit) == even
    assert last_layers(depth, limit) == last


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("method=all", "must be one of logit, hidden, attention, multi_level; got all"),
        ("attention=scores", "must be one of maps, relation; got scores"),
        ("layer_map=odd", "must be even, last or a list"),
        ("layer_map=[2,1]", r"in ascending order, got \[2, 1\]"),
        ("layer_map=[1,1]", r"in ascending order, got \[1, 1\]"),
        ("layer_map=[-1,2]", r"in ascending order, got \[-1, 2\]"),
        ("hidden_weight=0", "hidden_weight must be > 0, got 0"),
        ("attention_weight=-1", "attention_weight must be > 0, got -1"),
        ("relation_heads=0", "relation_heads must be > 0 or null, got 0"),
    ],
)
def test_bad_settings_are_refused(override: str, reason: str) -> None:
    with pytest.raises(Exception, match=reason):
        matching(override)


@pytest.mark.parametrize(
    ("layer_map", "got"), [("[3]", r"\[3\]"), ("[1,4]", r"\[1, 4\]"), ("[]", r"\[\]")]
)
def test_a_layer_map_that_does_not_fit_is_refused(
    layer_map: str, got: str, teacher: CompressedModel
) -> None:
    made = student("matching.method=hidden", f"matching.layer_map={layer_map}")
    reason = f"from 0 to 3 for each of the student's 2 layers, got {got}"
    with pytest.raises(ConfigError, match=reason):
        made.check(teacher.module)


def test_a_deeper_student_is_refused_inside_and_not_by_logits(teacher: CompressedModel) -> None:
    deeper = tiny_teacher(layers=5).skeleton("classifier")
    matching("method=logit").check(teacher.module, deeper)
    with pytest.raises(ConfigError, match="no deeper than the teacher, got 5 layers over 4"):
        matching("method=hidden").check(teacher.module, deeper)


def test_another_vocabulary_or_image_grid_is_refused(teachers: Teachers) -> None:
    teacher, other = (copy.deepcopy(teachers("bert").module) for _ in range(2))
    other.config.vocab_size = 7
    with pytest.raises(ConfigError, match=r"got vocab_size=7 over 1000; take .*method=logit"):
        matching("method=hidden").check(teacher, other)
    matching("method=logit").check(teacher, other)
    with pytest.raises(ConfigError, match="got model_type=deit over vit"):
        matching("method=hidden").check(teachers("vit").module, teachers("deit").module)


def test_another_tokenizer_is_refused(teacher: CompressedModel) -> None:
    rows = make_split(4)
    same = copy.deepcopy(teacher.tokenizer)
    check_same_tokens("hidden", teacher, same, rows)
    same.add_tokens(["dull film"])
    with pytest.raises(ConfigError, match=r"the teacher's tokenizer.*row 0 of train differs"):
        check_same_tokens("hidden", teacher, same, rows)


@pytest.mark.parametrize("attention", ["maps", "relation"])
def test_multi_level_is_the_weighted_sum(
    attention: str, teachers: Teachers, context: Contexts
) -> None:
    ctx = context(teachers("bert"))
    module = tiny_teacher(layers=2)._module("classifier", {})
    weights = ["hidden_weight=3", "attention_weight=7", f"attention={attention}"]
    plain, hidden, attended, both = (
        losses(ctx, module, [f"method={method}", *weights])[0] for method in METHODS
    )
    assert plain == 5
    assert both - plain == pytest.approx((hidden - plain) + (attended - plain), rel=1e-5)
    (unweighted, _) = losses(ctx, module, ["method=hidden", "hidden_weight=1"])
    assert hidden - plain == pytest.approx(3 * (unweighted - plain), rel=1e-5)


def test_the_objective_by_hand(teachers: Teachers, context: Contexts) -> None:
    """The teacher's layers 1 and 2 against both of the student's, over real tokens."""
    ctx = context(teachers("bert"))
    module = tiny_teacher(layers=2)._module("classifier", {}).eval()
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    inputs = {"input_ids": torch.tensor([[5, 6, 7, 8], [9, 10, 0, 0]]), "attention_mask": mask}
    made, _ = losses(ctx, module, ["method=hidden", "layer_map=[1,2]"], **inputs)
    with torch.no_grad():
        theirs = ctx.teacher.module(**inputs, output_hidden_states=True).hidden_states
        ours = module(**inputs, output_hidden_states=True).hidden_states
    # hidden_states begin with the embeddings.
    squares = [(ours[1] - theirs[2]) ** 2, (ours[2] - theirs[3]) ** 2]
    expected = torch.stack([s[mask.bool()].mean() for s in squares]).mean()
    assert made - 5 == pytest.approx(float(expected), rel=2e-2)  # the teacher may run in bfloat16


@pytest.mark.parametrize(
    ("overrides", "below", "outside"),
    [
        (["method=hidden"], "output.dense", "classifier"),
        (["method=attention"], "query", "value"),
        (["method=attention", "attention=relation"], "value", "classifier"),
    ],
)
def test_gradients_reach_what_is_matched_and_nothing_after(
    overrides: list[str], below: str, outside: str, teachers: Teachers, context: Contexts
) -> None:
    module = tiny_teacher(layers=2)._module("classifier", {})
    _, gradients = losses(context(teachers("bert")), module, overrides)
    last = {name: g for name, g in gradients.items() if "layer.1." in name or "classifier" in name}
    assert any(below in name and float(g.abs().max()) > 0 for name, g in last.items())
    assert not any(outside in name and float(g.abs().max()) > 0 for name, g in last.items())


@pytest.mark.parametrize(
    ("architecture", "attention"),
    [(name, "maps") for name in ("bert", "distilbert", "roberta", "mpnet", "gpt2", "llama", "vit")]
    + [(name, "relation") for name in ("gpt2", "llama", "vit")],
)
def test_students_train_and_are_left_as_they_were(
    attention: str, architecture: str, teachers: Teachers, context: Contexts
) -> None:
    teacher = teachers(architecture)
    ctx = context(teacher)
    before = copy.deepcopy(teacher.module.state_dict())
    kernel = teacher.module.config._attn_implementation
    settings = student("matching.method=multi_level", f"matching.attention={attention}")
    settings.check(copy.deepcopy(teacher.module).to("meta"))
    made = settings.distill(ctx)
    notes = made.history[-1].notes
    assert (notes["teacher_layers"], notes["layer_map"]) == ([0, 3], [1, 3])
    assert made.module.config._attn_implementation == kernel
    hooks = [h for part in made.module.modules() for h in part._forward_hooks.values()]
    assert not [hook for hook in hooks if hook.__module__ == "compress.training.matching"]
    assert not any(part.training for part in made.module.modules())
    assert all(torch.equal(before[k], v) for k, v in teacher.module.state_dict().items())
    ours = known_blocks(made.module)[1].projection(known_blocks(made.module)[1].layout.query)
    theirs = known_blocks(teacher.module)[3].projection(known_blocks(made.module)[1].layout.query)
    assert not torch.equal(ours.weight, theirs.weight)


@pytest.mark.parametrize(
    "overrides",
    [["method=hidden"], ["method=attention"], ["method=attention", "attention=relation"]],
)
def test_training_brings_the_inside_to_the_teacher(
    overrides: list[str], teacher: CompressedModel, context: Contexts
) -> None:
    """A student with weights of its own, and nothing said of logits."""
    ctx = context(teacher)
    torch.manual_seed(1)
    module = tiny_teacher(layers=2)._module("classifier", {})
    # Untrained attention is all but uniform: make something of it.
    for model in (module, teacher.module):
        for block in known_blocks(model):
            for path in (block.layout.query, block.layout.key):
                block.projection(path).weight.data *= 20
    start, _ = losses(ctx, module, overrides)
    training = Training(epochs=5, learning_rate=0.02, batch_size=8, **PLAIN)
    with matching_objective(matching(*overrides), same_for_all, module, ctx) as objective:
        train_(module, teacher.tokenizer, ctx.data, training, objective, device=ctx.device, seed=0)
    end, _ = losses(ctx, module, overrides)
    assert end - 5 < 0.5 * (start - 5)


def test_projections_learn_beside_the_student(teacher: CompressedModel, context: Contexts) -> None:
    ctx = context(teacher)
    tiny = replace(tiny_teacher(layers=2), hidden=8)
    module = tiny._module("classifier", {})
    training = Training(epochs=1, learning_rate=0.01, batch_size=8, **PLAIN)
    with matching_objective(matching("method=hidden"), same_for_all, module, ctx) as objective:
        (group,) = objective.parameters
        before = [parameter.detach().clone() for parameter in group["params"]]
        train_(module, teacher.tokenizer, ctx.data, training, objective, device=ctx.device, seed=0)
    moved = zip(before, group["params"], strict=True)
    assert [tuple(parameter.shape) for parameter in before] == [(8, 16)] * 2
    assert all(not torch.equal(*pair) for pair in moved)


def test_maps_are_matched_without_attention_dropout(
    teacher: CompressedModel, context: Contexts
) -> None:
    """A student in training mode sees its own maps whole: each row sums to one."""
    module = copy.deepcopy(teacher.module).train()
    sums: list[Tensor] = []
    module.register_forward_hook(
        lambda _, __, output: sums.extend(a.sum(dim=-1).detach() for a in output.attentions)
    )
    inputs = {"input_ids": torch.tensor([[5, 6, 7]]), "attention_mask": torch.ones(1, 3)}
    with matching_objective(
        matching("method=attention"), same_for_all, module, context(teacher)
    ) as objective:
        objective.loss(module, inputs, torch.arange(1))
    assert torch.allclose(torch.stack(sums), torch.ones(()))


def test_logits_alone_need_no_teacher_model(teacher: CompressedModel, context: Contexts) -> None:
    ctx = replace(context(teacher), teacher=None)  # type: ignore[arg-type]
    with matching_objective(matching(), same_for_all, teacher.module, ctx) as objective:
        assert objective.parameters == ()
