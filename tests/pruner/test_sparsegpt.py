from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from compress.blocks import block_linears
from compress.interfaces import CompressedModel, StageContext
from compress.pruner.masks import keep_highest
from compress.pruner.sparsegpt import SparseGpt, inverse_factor_, prune_columns
from compress.settings import ConfigError, UserError
from tests.configs import settings_of
from tests.tiny import make_split


def sparsegpt(*overrides: str) -> SparseGpt:
    made = settings_of("pruner", "sparsegpt", *overrides)
    assert isinstance(made, SparseGpt)
    return made


def fixed(mask: list[list[int]]) -> Callable[[Tensor], Tensor]:
    return lambda _: torch.tensor(mask, dtype=torch.bool)


def test_two_columns_by_hand() -> None:
    """H = [[2, 1], [1, 2]], w = (3, 5): without w₁, the best w₂ is 5 + 3 · H₁₂ / H₂₂ = 6.5."""
    factor = inverse_factor_(torch.tensor([[2.0, 1.0], [1.0, 2.0]]), damping=0.0)
    # H⁻¹ = [[2, -1], [-1, 2]] / 3 and its Cholesky factor
    assert torch.allclose(factor, torch.tensor([[(2 / 3) ** 0.5, -1 / 6**0.5], [0, 0.5**0.5]]))
    updated, mask = prune_columns(torch.tensor([[3.0, 5.0]]), factor, 2, fixed([[0, 1]]))
    assert torch.allclose(updated, torch.tensor([[0.0, 6.5]]))
    assert mask.tolist() == [[False, True]]


def test_scores_are_the_losses_of_optimal_brain_surgeon() -> None:
    """w² / [H⁻¹]_ii by hand for the same H: 9 / (2/3) for w₁; 25 / (1/2) once w₁ is settled."""
    factor = inverse_factor_(torch.tensor([[2.0, 1.0], [1.0, 2.0]]), damping=0.0)
    seen: list[Tensor] = []

    def choose(score: Tensor) -> Tensor:
        seen.append(score.clone())
        return torch.ones_like(score, dtype=torch.bool)

    prune_columns(torch.tensor([[3.0, 5.0]]), factor, 2, choose)
    assert torch.allclose(seen[0], torch.tensor([[13.5, 50.0]]))


@pytest.mark.parametrize("block_size", [1, 3, 6, 8])
def test_first_columns_pruned_is_least_squares(block_size: int) -> None:
    """With the first columns gone, the rest must be the exact least-squares fit of the outputs."""
    rng = torch.Generator().manual_seed(0)
    inputs = torch.randn(50, 6, generator=rng, dtype=torch.float64)
    weight = torch.randn(4, 6, generator=rng, dtype=torch.float64)
    factor = inverse_factor_(inputs.T @ inputs, damping=0.0)
    gone = [0, 1, 2]

    def choose(score: Tensor) -> Tensor:
        columns = choose.start + torch.arange(score.shape[1])  # type: ignore[attr-defined]
        choose.start += score.shape[1]  # type: ignore[attr-defined]
        return (columns > max(gone)).expand_as(score)

    choose.start = 0  # type: ignore[attr-defined]
    updated, _ = prune_columns(weight, factor, block_size, choose)
    best = torch.linalg.lstsq(inputs[:, 3:], inputs @ weight.T).solution.T
    assert torch.allclose(updated[:, 3:], best)
    assert (updated[:, :3] == 0).all()


def test_it_loses_less_output_than_magnitude_at_the_same_sparsity() -> None:
    rng = torch.Generator().manual_seed(1)
    inputs = torch.randn(200, 16, generator=rng) @ torch.randn(16, 16, generator=rng)
    weight = torch.randn(8, 16, generator=rng)
    updated, mask = prune_columns(
        weight, inverse_factor_(inputs.T @ inputs, 0.01), 8, lambda s: keep_highest(s, 0.5)
    )
    candidates = (updated, weight * mask, weight * keep_highest(weight.abs(), 0.5))
    ours, uncompensated, magnitude = (
        float((inputs @ (w - weight).T).square().sum()) for w in candidates
    )
    assert ours < uncompensated
    assert ours < magnitude
    assert (~mask).sum() == (updated == 0).sum() == 64


def test_each_block_of_columns_loses_the_asked_fraction(
    teacher: CompressedModel, context: Callable[[CompressedModel], StageContext]
) -> None:
    pruned = sparsegpt("pruner.sparsity=0.25", "pruner.block_size=8").prune(
        teacher, context(teacher)
    )
    for linear in block_linears(pruned.module).values():
        for part in linear.weight.split(8, dim=1):
            assert int((part == 0).sum()) == part.numel() // 4


def test_pattern_holds_in_every_group(
    teacher: CompressedModel, context: Callable[[CompressedModel], StageContext]
) -> None:
    pruned = sparsegpt("pruner.pattern='2:4'").prune(teacher, context(teacher))
    for linear in block_linears(pruned.module).values():
        groups = linear.weight.reshape(-1, 4)
        assert (groups == 0).sum(dim=1).tolist() == [2] * len(groups)


def test_a_singular_hessian_says_what_to_raise(
    teacher: CompressedModel, context: Callable[[CompressedModel], StageContext]
) -> None:
    with pytest.raises(UserError, match=r"Hessian of bert\.encoder\.layer\.0.* pruner\.damping=0"):
        sparsegpt("pruner.damping=0").prune(teacher, small(context(teacher)))


def small(ctx: StageContext) -> StageContext:
    """One calibration row: fewer tokens than features, so XᵀX has no inverse."""
    return replace(ctx, data=replace(ctx.data, calibration=make_split(1, "calibration")))


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["pruner.block_size=0"], "block_size must be > 0"),
        (["pruner.damping=-1"], "damping must be >= 0"),
        (["pruner.pattern='2:4'", "pruner.block_size=6"], "must be a multiple of 4"),
    ],
)
def test_bad_settings_are_refused(overrides: list[str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        sparsegpt(*overrides)
