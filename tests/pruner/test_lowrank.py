from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from compress.config.errors import ConfigError, UserError
from compress.interfaces import CompressedModel
from compress.measure.sparsity import check_history
from compress.pruner.components.rank import break_even, energy_rank, ratio_rank, saves
from compress.pruner.lowrank import LowRank, balanced
from compress.transformer.blocks import block_linears, scoped_linears, shape_of, weight_matrix
from compress.transformer.stored_modules import LowRankLinear
from tests.configs import changed
from tests.pruner.made import Contexts, Teachers, logits, pruner, round_trip, skeleton


def lowrank(**settings: Any) -> LowRank:
    made: LowRank = changed(pruner("lowrank"), **settings)
    return made


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_ranks_by_hand() -> None:
    singular = torch.tensor([3.0, 2.0, 1.0])  # squares 9, 4, 1 of 14
    shares = {0.1: 1, 9 / 14: 1, 0.65: 2, 0.9: 2, 13 / 14: 2, 0.93: 3, 1.0: 3}
    assert {e: energy_rank(singular.double(), e) for e in shares} == shares
    assert ratio_rank((16, 32), 0.75) == 8  # 0.75 · 512 / 48
    assert ratio_rank((16, 32), 0.74) == 7
    assert ratio_rank((10, 10), 0.6) == 3  # a float of 2.9999999999999996
    # 10 · 48 = 480 < 512 < 11 · 48; two of 4 × 4 take 16 weights as the whole does.
    assert (break_even((16, 32)), break_even((4, 4))) == (10, 1)
    assert [saves(rank, (4, 4)) for rank in (0, 1, 2)] == [False, True, False]


def test_balanced_factors_have_one_size() -> None:
    left, singular, right = torch.linalg.svd(normal(5, 7), full_matrices=False)
    up, down = balanced(left, singular, right)
    assert torch.allclose(up.norm(dim=0), singular.sqrt())
    assert torch.allclose(down.norm(dim=1), singular.sqrt())


@pytest.mark.parametrize("architecture", ["bert", "gpt2", "llama"])
def test_errors_are_the_tail_of_the_singular_values(
    architecture: str, teachers: Teachers, context: Contexts
) -> None:
    teacher = teachers(architecture)
    pruned = lowrank(rank=dict(by="fixed", fixed=3)).prune(teacher, context(teacher))
    for name, linear in block_linears(teacher.module).items():
        weight = weight_matrix(linear).detach()
        thin = pruned.module.get_submodule(name)
        assert isinstance(thin, LowRankLinear)
        assert shape_of(thin) == shape_of(linear)
        tail = torch.linalg.svdvals(weight)[3:].norm()
        assert torch.allclose((weight - weight_matrix(thin)).norm(), tail, rtol=1e-4)
        assert (thin.up.bias is None) == (linear.bias is None)
        if linear.bias is not None:
            assert torch.equal(thin.up.bias, linear.bias)
    assert set(pruned.history[-1].notes["ranks"].values()) == {3}


@pytest.mark.parametrize("weighting", ["none", "input", "activation", "fisher"])
def test_what_was_written_is_what_is_read_and_int8_goes_on_top(
    weighting: str, teachers: Teachers, context: Contexts, tmp_path: Path
) -> None:
    teacher = teachers("gpt2")
    ctx = context(teacher)
    pruned = lowrank(weighting=dict(method=weighting)).prune(teacher, ctx)
    found = {
        name: round_trip(pruned, ctx, name, tmp_path / name) for name in ("none", "int8_dynamic")
    }
    assert not torch.equal(found["none"], found["int8_dynamic"])
    plain = lowrank(weighting=dict(method="none")).prune(teacher, ctx)
    assert torch.equal(logits(plain, ctx), found["none"]) == (weighting == "none")


def test_scope_and_layers_say_what_is_factorized(
    teacher: CompressedModel, context: Contexts
) -> None:
    pruned = lowrank(scope="ffn", layers=(1, 3)).prune(teacher, context(teacher))
    thin = {n for n, part in pruned.module.named_modules() if isinstance(part, LowRankLinear)}
    wanted = {n for n in scoped_linears(teacher.module, "ffn") if ".1." in n or ".3." in n}
    assert thin == wanted == set(pruned.history[-1].notes["ranks"])
    assert len(thin) == 4


def test_layers_that_would_save_nothing_stay_whole(teachers: Teachers, context: Contexts) -> None:
    teacher = teachers("llama")  # keys and values are 8 × 16: break-even is 5, elsewhere 7
    made = lowrank(scope="attention", rank=dict(by="fixed", fixed=6))
    predicted = made.check(skeleton(teacher))
    pruned = made.prune(teacher, context(teacher))
    notes = pruned.history[-1].notes
    for name, rank in notes["ranks"].items():
        narrow = name.endswith(("k_proj", "v_proj"))
        assert rank == (None if narrow else 6)
        assert isinstance(pruned.module.get_submodule(name), LowRankLinear) != narrow
        assert (name in notes["left_whole"]) == narrow
    assert set(notes["left_whole"].values()) == {"rank 6 would take 144 weights instead of 128"}
    shapes = [{n: p.shape for n, p in m.named_parameters()} for m in (predicted, pruned.module)]
    assert shapes[0] == shapes[1]
    check_history(pruned.history, pruned.module.named_parameters())


def test_denoising_leaves_the_planted_rank(teacher: CompressedModel, context: Contexts) -> None:
    module = copy.deepcopy(teacher.module)
    planted = next(iter(block_linears(module)))
    with torch.no_grad():
        for linear in block_linears(module).values():
            spread = torch.linspace(0.01, 0.012, 16).diag()
            linear.weight.copy_(spread if linear.weight.shape == (16, 16) else linear.weight)
        weight = module.get_submodule(planted).get_parameter("weight")
        weight[0, 0], weight[1, 1] = 3.0, 2.0
    model = replace(teacher, module=module)
    for denoise in ("hard", "shrink"):
        made = lowrank(
            scope="attention", denoise=dict(method=denoise), rank=dict(by="energy", energy=1.0)
        )
        pruned = made.prune(model, context(teacher))
        notes = pruned.history[-1].notes
        assert notes["ranks"].pop(planted) == 2
        assert set(notes["ranks"].values()) == {None}
        reasons = {"no singular value stands out of the noise"}
        assert set(notes["left_whole"].values()) == reasons
        thin = pruned.module.get_submodule(planted)
        assert isinstance(thin, LowRankLinear)
        largest = float(weight_matrix(thin).detach()[0, 0])
        assert largest == pytest.approx(3.0) if denoise == "hard" else 2.9 < largest < 3.0
    floor = lowrank(
        scope="attention", denoise=dict(method="hard", min=4), rank=dict(by="energy", energy=1.0)
    )
    notes = floor.prune(model, context(teacher)).history[-1].notes
    assert set(notes["ranks"].values()) == {4}
    nothing = lowrank(scope="attention", denoise=dict(method="hard"), layers=(2,))
    with pytest.raises(UserError, match=r"out of the noise; set pruner\.denoise\.method=none"):
        nothing.prune(model, context(teacher))


def test_ranks_are_clamped(teacher: CompressedModel, context: Contexts) -> None:
    for limits, expected in (({"min": 5}, 5), ({"max": 2}, 2)):
        made = lowrank(scope="attention", sparsity=0.6, rank=limits)  # 0.4 · 8 = 3.2
        ranks = made.prune(teacher, context(teacher)).history[-1].notes["ranks"]
        assert set(ranks.values()) == {expected}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            dict(sparsity=0.01, rank=dict(min=11)),
            r"all 24 layers .* take 352 weights instead of 256",
        ),
        (dict(rank=dict(by="fixed", fixed=11)), r"expected at most 7: lower pruner\.rank\.fixed"),
        (dict(rank=dict(by="energy", min=16)), r"expected at most 7: .*rank\.min=16"),
        (dict(layers=(0, 4)), r"LowRank\.layers must be indices from 0 to 3, got \[0, 4\]"),
        (dict(scope="nothing"), "scope=nothing matches no Linear layer"),
        (dict(scope="*.0.*", layers=(1,)), r"matches no Linear layer in layers \[1\]"),
    ],
)
def test_shapes_that_cannot_work_are_refused_before_weights_are_read(
    settings: dict[str, Any], reason: str, teacher: CompressedModel
) -> None:
    with pytest.raises(ConfigError, match=reason):
        lowrank(**settings).check(skeleton(teacher))


def test_weights_that_save_nothing_are_refused(teacher: CompressedModel, context: Contexts) -> None:
    made = lowrank(rank=dict(by="energy", energy=1.0))
    made.check(skeleton(teacher))
    with pytest.raises(UserError, match="would leave all 24 layers in scope whole"):
        made.prune(teacher, context(teacher))


def test_a_factorized_layer_is_not_factorized_again(
    teacher: CompressedModel, context: Contexts
) -> None:
    once = lowrank(scope="ffn").prune(teacher, context(teacher))
    for scope in ("ffn", "all", "*.down"):
        with pytest.raises(ConfigError, match=r"intermediate\.dense, which is factorized already"):
            lowrank(scope=scope).check(skeleton(once))
    with pytest.raises(ConfigError, match="factorized already"):
        lowrank(scope="ffn").prune(once, context(teacher))
    twice = lowrank(scope="attention").prune(once, context(teacher))
    check_history(twice.history, twice.module.named_parameters())


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            dict(rank=dict(by="best")),
            "RankRule.by must be one of sparsity, energy, fixed; got best",
        ),
        (dict(rank=dict(energy=0.0)), r"RankRule\.energy must be in \(0, 1\], got 0"),
        (dict(rank=dict(energy=1.1)), r"RankRule\.energy must be in \(0, 1\], got 1\.1"),
        (dict(sparsity=0), r"LowRank\.sparsity must be in \(0, 1\), got 0"),
        (dict(sparsity=1.0), r"LowRank\.sparsity must be in \(0, 1\), got 1"),
        (dict(rank=dict(fixed=0)), r"RankRule\.fixed must be > 0"),
        (dict(rank=dict(min=0)), r"RankRule\.min must be > 0"),
        (dict(rank=dict(max=3, min=4)), r"RankRule\.max must be null or at least min=4, got 3"),
        (dict(denoise=dict(method="soft")), "method must be one of none, hard, shrink; got soft"),
        (dict(denoise=dict(min=-1)), r"Denoise\.min must be >= 0, got -1"),
        (dict(denoise=dict(min=2)), "min must be 0 but with method=hard"),
        (dict(denoise=dict(min=2, method="shrink")), "got min=2, method=shrink"),
        (dict(weighting=dict(method="x")), "must be one of none, input, activation, fisher; got x"),
        (dict(weighting=dict(damping=-1)), r"Weighting\.damping must be >= 0"),
        (
            dict(weighting=dict(method="input"), denoise=dict(method="hard")),
            "must be none with a weighting",
        ),
        (
            dict(weighting=dict(method="fisher"), standardize=True),
            "standardize must be false with a weighting",
        ),
        (dict(layers=()), r"LowRank\.layers must list blocks in ascending order, got \[\]"),
        (dict(layers=(1, 1)), "ascending order"),
        (dict(layers=(-1,)), "ascending order"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        lowrank(**settings)
