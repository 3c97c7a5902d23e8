from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from compress.config.errors import UserError
from compress.interfaces import CompressedModel
from compress.pruner.components.base import PruningState
from compress.pruner.components.weighting import (
    Norm,
    damped_importance,
    fisher_rows,
    input_norm,
    plain_norm,
    standardizing_norm,
)
from compress.pruner.lowrank import balanced
from compress.transformer.blocks import block_linears, scoped_linears, shape_of, weight_matrix
from compress.transformer.calibration import calibration_rows
from compress.transformer.stored_modules import LowRankLinear
from tests.pruner.made import Contexts, Teachers
from tests.pruner.test_lowrank import lowrank, normal


def nearest(weight: Tensor, norm: Norm, rank: int) -> Tensor:
    left, singular, right = torch.linalg.svd(norm.applied(weight), full_matrices=False)
    up, down = norm.undone(*balanced(left[:, :rank], singular[:rank], right[:rank]))
    return up @ down


def test_every_norm_is_exact_at_full_rank() -> None:
    weight, inputs = normal(5, 7), normal(30, 7, seed=1)
    columns = input_norm("x", inputs.T @ inputs, 5, damping=0.01).columns
    for norm in (
        plain_norm(weight),
        standardizing_norm(weight),
        Norm(normal(5, seed=2).abs() + 1, columns),
        Norm(normal(5, seed=2).abs() + 1, normal(7, seed=3).abs() + 1),
    ):
        assert torch.allclose(nearest(weight, norm, 5), weight, atol=1e-12)
        assert not torch.allclose(nearest(weight, norm, 4), weight, atol=1e-3)


def test_standardizing_by_hand() -> None:
    weight = torch.tensor([[3.0, 0.0, 1.0], [4.0, 0.0, -1.0]])
    norm = standardizing_norm(weight)
    assert norm.columns.tolist() == pytest.approx([1 / 12.5**0.5, 1.0, 1.0])
    # A column of another unit then weighs no more than the others.
    weight = normal(6, 8)
    unit = torch.tensor([1000.0] + [1.0] * 7)
    scaled = nearest(weight * unit, standardizing_norm(weight * unit), 2)
    assert torch.allclose(scaled / unit, nearest(weight, standardizing_norm(weight), 2))
    assert not torch.allclose(
        nearest(weight * unit, plain_norm(weight), 2), scaled, rtol=0.1, atol=0.1
    )


def test_weighting_by_inputs_is_nearest_on_the_inputs() -> None:
    weight = normal(12, 10)
    inputs = normal(200, 3, seed=1) @ normal(3, 10, seed=2) + 0.1 * normal(200, 10, seed=3)
    norm = input_norm("x", inputs.T @ inputs, 12, damping=0.0)
    errors = [
        float((inputs @ (weight - nearest(weight, each, 3)).T).norm())
        for each in (norm, plain_norm(weight))
    ]
    best = torch.linalg.svdvals(inputs @ weight.T)[3:].norm()
    assert errors[0] == pytest.approx(float(best)), "no matrix of this rank is nearer"
    assert errors[0] < 0.5 * errors[1]


def test_row_weights_make_heavy_rows_exact() -> None:
    weight = torch.tensor([[1.0, 0.0], [0.0, 5.0]], dtype=torch.float64)
    rows = torch.tensor([10.0, 1.0], dtype=torch.float64)
    found = nearest(weight, Norm(rows, plain_norm(weight).columns), 1)
    assert torch.allclose(found, torch.tensor([[1.0, 0.0], [0.0, 0.0]], dtype=torch.float64))
    plain = nearest(weight, plain_norm(weight), 1)
    assert torch.allclose(plain, torch.tensor([[0.0, 0.0], [0.0, 5.0]], dtype=torch.float64))


def test_damping_by_hand() -> None:
    assert damped_importance("x", torch.tensor([1.0, 3.0]), 0.5).tolist() == [2.0, 4.0]
    with pytest.raises(UserError, match=r"x matter to no calibration row with pruner\.damping=0"):
        damped_importance("x", torch.tensor([0.0, 3.0]), 0.0)
    moment = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    with pytest.raises(UserError, match="inputs of x span too little"):
        input_norm("x", moment, 3, 0.0)
    assert torch.allclose(
        input_norm("x", moment, 3, 0.5).columns.square(),  # mean of the diagonal: 1
        torch.tensor([[2.5, 0.0], [0.0, 0.5]], dtype=torch.float64),
    )


def test_first_layer_is_factorized_as_the_formulas_say(
    teacher: CompressedModel, context: Contexts
) -> None:
    ctx = context(teacher)
    name, linear = next(iter(block_linears(teacher.module).items()))
    caught: list[Tensor] = []
    handle = linear.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0][0]))
    slopes = []
    rows = ctx.data.calibration
    inputs_of_rows = calibration_rows(teacher.module, teacher.tokenizer, rows)
    for row, label in zip(inputs_of_rows, rows.labels.tolist(), strict=True):
        loss = functional.cross_entropy(teacher.module(**row).logits, torch.tensor([label]))
        slopes.append(torch.autograd.grad(loss, [linear.weight])[0])
    handle.remove()
    inputs = torch.cat(caught).detach().double()
    weight = weight_matrix(linear).detach().double()
    plain = plain_norm(weight)
    fisher = torch.stack(slopes).double().square().sum(dim=(0, 2))
    size = inputs.abs().mean(dim=0)
    norms = {
        "none": plain,
        "input": input_norm("x", inputs.T @ inputs, 16, 0.1),
        "activation": Norm(plain.rows, (size + 0.1 * size.mean()).sqrt()),
        "fisher": Norm((fisher + 0.1 * fisher.mean()).sqrt(), plain.columns),
        "standardize": standardizing_norm(weight),
    }
    found = {}
    for weighting, norm in norms.items():
        settings: dict[str, Any] = {"weighting": {"method": weighting, "damping": 0.1}}
        if weighting == "standardize":
            settings = {"standardize": True}
        pruned = lowrank(**settings).prune(teacher, ctx)
        thin = pruned.module.get_submodule(name)
        assert isinstance(thin, LowRankLinear)
        found[weighting] = weight_matrix(thin).detach().double()
        assert torch.allclose(found[weighting], nearest(weight, norm, 4), rtol=1e-3, atol=1e-5)
        shapes = pruned.history[-1].expected_shapes
        assert shapes[f"{name}.weight"] is None
        assert shapes[f"{name}.up.weight"] == (16, 4)
        assert shapes[f"{name}.down.weight"] == (4, 16)
    errors = {each: float((inputs @ (weight - w).T).norm()) for each, w in found.items()}
    assert errors["input"] == min(errors.values())
    assert len(set(errors.values())) == 5, "each norm has a nearest matrix of its own"


def test_later_blocks_see_the_factorized_ones_before_them(
    teacher: CompressedModel, context: Contexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[int, list[Tensor]] = {}
    for rank in (1, 7):
        calls = seen.setdefault(rank, [])

        def spy(name: str, moment: Tensor, *rest: float, calls: list[Tensor] = calls) -> Norm:
            calls.append(moment)
            return input_norm(name, moment, *rest)  # type: ignore[arg-type]

        monkeypatch.setattr("compress.pruner.components.weighting.input_norm", spy)
        lowrank(weighting=dict(method="input"), rank=dict(by="fixed", fixed=rank)).prune(
            teacher, context(teacher)
        )
    per_block = len(seen[1]) // teacher.module.config.num_hidden_layers
    assert all(map(torch.equal, seen[1][:per_block], seen[7][:per_block]))
    assert not torch.allclose(seen[1][per_block], seen[7][per_block])


@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
def test_fisher_rows_are_squared_gradients_of_single_rows(
    architecture: str, teachers: Teachers, context: Contexts
) -> None:
    teacher = teachers(architecture)
    ctx, module = context(teacher), copy.deepcopy(teacher.module)
    linears = scoped_linears(module, "*.0.*")
    first = next(iter(module.parameters()))
    first.requires_grad_(False)
    shapes = {name: shape_of(linear) for name, linear in linears.items()}
    found = fisher_rows(PruningState(module, teacher.tokenizer, ()), shapes, ctx)
    assert not first.requires_grad
    assert all(parameter.grad is None for parameter in module.parameters())
    weights = [linear.weight for linear in linears.values()]
    assert all(weight.requires_grad for weight in weights)
    expected = dict.fromkeys(linears, 0)
    rows = ctx.data.calibration
    for row, label in zip(
        calibration_rows(module, teacher.tokenizer, rows), rows.labels.tolist(), strict=True
    ):
        loss = functional.cross_entropy(module(**row).logits, torch.tensor([label]))
        for (name, linear), slope in zip(
            linears.items(), torch.autograd.grad(loss, weights), strict=True
        ):
            matrix = slope.T if slope.shape != shape_of(linear) else slope
            expected[name] = expected[name] + (matrix**2).sum(dim=1)
    for name, linear in linears.items():
        if linear.weight.shape[0] != linear.weight.shape[1]:  # else .T makes no difference
            assert torch.allclose(found[name], expected[name], rtol=1e-4)
