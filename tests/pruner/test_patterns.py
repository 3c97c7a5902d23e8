"""N:M patterns: expected for every layer in scope, counted in the artifact, kept afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from pydantic.dataclasses import dataclass

from compress.interfaces import CompressedModel, StageContext
from compress.measure.sparsity import broken_groups, check_history, live_patterns
from compress.pruner.components.base import PruningState
from compress.pruner.components.mask_pruner import SparsePruner
from compress.pruner.components.masks import keep_highest
from compress.transformer.blocks import block_linears, scoped_linears, weight_matrix
from compress.transformer.stored_modules import named_weights
from tests.configs import ROOT, settings_of, yaml_names
from tests.pruner.made import Contexts, Teachers, pruner

PRUNERS = [
    name
    for name in yaml_names("pruner")
    if "pattern" in OmegaConf.load(ROOT / "conf" / "pruner" / f"{name}.yaml")
]


@dataclass(frozen=True, kw_only=True)
class Forgetful(SparsePruner):
    """Meets the sparsity and forgets the pattern; made for these tests."""

    def prune_(self, work: PruningState, ctx: StageContext) -> None:
        for name, linear in scoped_linears(work.module, self.scope).items():
            mask = keep_highest(weight_matrix(linear).abs(), self.sparsity)
            work.mask_(name, linear, mask)


def test_every_mask_pruner_is_here() -> None:
    assert PRUNERS == ["magnitude", "sparsegpt", "wanda"]


@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
def test_a_method_that_forgets_the_pattern_is_caught(
    architecture: str, teachers: Teachers, context: Contexts
) -> None:
    teacher = teachers(architecture)
    forgetful = Forgetful(
        sparsity=0.5, scope="all", pattern="2:4", recovery=pruner("wanda").recovery
    ).prune(teacher, context(teacher))
    with pytest.raises(AssertionError, match=r"weight has \d+ groups with more, the pattern 2:4"):
        check_history(forgetful.history, named_weights(forgetful.module))


def test_it_ends_a_run(run_config: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compress.pruner.magnitude.Magnitude.prune_", Forgetful.prune_)
    with pytest.raises(AssertionError, match="the pattern 2:4 was expected"):
        run_config("pruner=magnitude", "pruner.pattern='2:4'", "cache=off")


@pytest.mark.parametrize("pattern", ["2:4", "1:4", "4:8", "1:2"])
@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
@pytest.mark.parametrize("name", PRUNERS)
def test_every_layer_in_scope_has_the_pattern(
    name: str, architecture: str, pattern: str, teachers: Teachers, context: Contexts
) -> None:
    teacher = teachers(architecture)
    kept, group = map(int, pattern.split(":"))
    asked = [f"pattern='{pattern}'", f"sparsity={1 - kept / group}"]
    made = pruner(name, *asked).prune(teacher, context(teacher))
    linears = block_linears(made.module)
    assert live_patterns(made.history) == {f"{n}.weight": (kept, group) for n in linears}
    check_history(made.history, named_weights(made.module))
    for linear in linears.values():
        groups = weight_matrix(linear).reshape(-1, group)
        assert (groups != 0).sum(dim=1).tolist() == [kept] * len(groups)
    assert made.history[-1].notes["weights_in_pattern"] == len(linears)


@pytest.mark.parametrize("name", PRUNERS)
def test_recovery_holds_it(name: str, teacher: CompressedModel, context: Contexts) -> None:
    recovery = ("recovery.epochs=1", "recovery.batch_size=8", "recovery.learning_rate=0.01")
    trained = pruner(name, "pattern='2:4'", *recovery).prune(teacher, context(teacher))
    check_history(trained.history, named_weights(trained.module))
    assert len(live_patterns(trained.history)) == 24


LATER = [
    ("layers", ["drop=[0,2]"], 12),  # of the two that stay
    ("heads", ["sparsity=0.5"], 24),  # a head is two whole groups wide
    # Neurons leave one by one: the layer that reads them is in groups of others then.
    ("neurons", ["sparsity=0.3", "importance=random"], 20),
    ("vocabulary", [], 24),
    ("magnitude", ["sparsity=0.75"], 24),
    ("magnitude", ["sparsity=0.75", "pattern='1:4'"], 24),
    ("magnitude", ["sparsity=0.75", "scope=ffn"], 24),
    ("sparsegpt", ["sparsity=0.1"], None),  # moves what was zero
    ("lowrank", ["scope=ffn"], 16),
    ("hidden", ["sparsity=0.25", "round_to=4"], None),
]


@pytest.mark.parametrize(("name", "overrides", "count"), LATER)
def test_a_later_pruner_keeps_it_or_ends_the_expectation(
    name: str, overrides: list[str], count: int | None, teacher: CompressedModel, context: Contexts
) -> None:
    ctx = context(teacher)
    sparse = pruner("wanda", "pattern='2:4'").prune(teacher, ctx)
    later = pruner(name, *overrides).prune(sparse, ctx)
    check_history(later.history, named_weights(later.module))
    live = live_patterns(later.history)
    assert later.history[-1].notes["weights_in_pattern"] == len(live)
    assert count in (None, len(live))
    for weight, matrix in named_weights(later.module):
        earlier = live_patterns(sparse.history).get(weight)
        if earlier and weight not in live:
            assert broken_groups(matrix, *earlier) != 0, "the pattern still holds"
    with torch.no_grad():
        for weight in later.module.parameters():
            weight.fill_(1.0)
    if live:
        with pytest.raises(AssertionError, match=r"w(ere|as) expected"):
            check_history(later.history, named_weights(later.module))


def test_a_student_of_a_sparse_teacher_owes_nothing(
    teacher: CompressedModel, context: Contexts
) -> None:
    sparse = pruner("magnitude", "pattern='2:4'").prune(teacher, context(teacher))
    few = ("student.distillation.epochs=1", "student.distillation.batch_size=8")
    student: Any = settings_of("student", "layers", "student.keep=[0,2]", *few)
    made = student.distill(context(sparse))
    check_history(made.history, named_weights(made.module))
    assert live_patterns(made.history) == {}
