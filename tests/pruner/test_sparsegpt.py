from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from compress.config.errors import ConfigError, UserError
from compress.interfaces import CompressedModel
from compress.pruner.components.masks import keep_highest, keep_pattern
from compress.pruner.sparsegpt import prune_columns
from compress.transformer.blocks import block_linears
from compress.transformer.second_order import inverse_factor_
from tests.pruner.made import Contexts, pruner
from tests.tiny import make_split


def fixed(mask: list[list[int]]) -> Callable[[Tensor], Tensor]:
    return lambda _: torch.tensor(mask, dtype=torch.bool)


def test_two_columns_by_hand() -> None:
    """H = [[2, 1], [1, 2]], w = (3, 5): without w₁, the best w₂ is 5 + 3 · H₁₂ / H₂₂ = 6.5."""
    factor = inverse_factor_(torch.tensor([[2.0, 1.0], [1.0, 2.0]]), damping=0.0)
    # H⁻¹ = [[2, -1], [-1, 2]] / 3 and its Cholesky factor
    assert torch.allclose(factor, torch.tensor([[(2 / 3) ** 0.5, -1 / 6**0.5], [0, 0.5**0.5]]))
    updated, mask = prune_columns(torch.tensor([[3.0, 5.0]]), factor, 2, 2, fixed([[0, 1]]))
    assert torch.allclose(updated, torch.tensor([[0.0, 6.5]]))
    assert mask.tolist() == [[False, True]]


def test_scores_are_the_losses_of_optimal_brain_surgeon() -> None:
    """w² / [H⁻¹]_ii by hand for the same H: 9 / (2/3) for w₁; 25 / (1/2) once w₁ is settled."""
    factor = inverse_factor_(torch.tensor([[2.0, 1.0], [1.0, 2.0]]), damping=0.0)
    seen: list[Tensor] = []

    def choose(score: Tensor) -> Tensor:
        seen.append(score.clone())
        return torch.ones_like(score, dtype=torch.bool)

    prune_columns(torch.tensor([[3.0, 5.0]]), factor, 2, 2, choose)
    assert torch.allclose(seen[0], torch.tensor([[13.5, 50.0]]))


def test_weights_of_16_bits_are_updated_in_float32() -> None:
    """As float32 weights of the same values are, but for one rounding at the end."""
    rng = torch.Generator().manual_seed(0)
    inputs = torch.randn(200, 32, generator=rng)
    weight = torch.randn(8, 32, generator=rng).bfloat16()
    factor = inverse_factor_(inputs.T @ inputs, damping=0.01)

    def choose(score: Tensor) -> Tensor:
        return keep_highest(score, 0.5)

    short, exact = (prune_columns(each, factor, 8, 8, choose) for each in (weight, weight.float()))
    assert torch.equal(short[1], exact[1])
    assert torch.equal(short[0], exact[0].bfloat16())


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
    updated, _ = prune_columns(weight, factor, block_size, block_size, choose)
    best = torch.linalg.lstsq(inputs[:, 3:], inputs @ weight.T).solution.T
    assert torch.allclose(updated[:, 3:], best)
    assert (updated[:, :3] == 0).all()


def test_it_loses_less_output_than_magnitude_at_the_same_sparsity() -> None:
    rng = torch.Generator().manual_seed(1)
    inputs = torch.randn(200, 16, generator=rng) @ torch.randn(16, 16, generator=rng)
    weight = torch.randn(8, 16, generator=rng)
    updated, mask = prune_columns(
        weight, inverse_factor_(inputs.T @ inputs, 0.01), 8, 8, lambda s: keep_highest(s, 0.5)
    )
    candidates = (updated, weight * mask, weight * keep_highest(weight.abs(), 0.5))
    ours, uncompensated, magnitude = (
        float((inputs @ (w - weight).T).square().sum()) for w in candidates
    )
    assert ours < uncompensated
    assert ours < magnitude
    assert (~mask).sum() == (updated == 0).sum() == 64


def one_weight_at_a_time(
    weight: Tensor, hessian: Tensor, together: int, sparsity: float, *, by_row: bool
) -> list[list[float]]:
    """Algorithm 1 in plain loops, with an explicit inverse for every column and no block.

    Args:
        weight: of one layer.
        hessian: of its columns.
        together: columns whose mask is chosen together, on the weights as they are by then.
        sparsity: share of the weights that goes at each such choice.
        by_row: whether it is that of each row, or of all rows together.
    """
    left = weight.numpy().copy()
    rows, columns = range(left.shape[0]), range(left.shape[1])
    inverses = [np.linalg.inv(hessian.numpy()[column:, column:]) for column in columns]
    gone: set[tuple[int, int]] = set()
    for column in columns:
        if column % together == 0:
            group = columns[column : column + together]
            places = [(row, place) for row in rows for place in group]
            for pool in (
                [[p for p in places if p[0] == row] for row in rows] if by_row else [places]
            ):
                cost = {p: left[p] ** 2 / inverses[p[1]][0, 0] for p in pool}
                gone |= set(sorted(pool, key=cost.__getitem__)[: round(sparsity * len(pool))])
        inverse = inverses[column]
        for row in rows:
            if (row, column) in gone:
                error = left[row, column] / inverse[0, 0]
                for place in columns[column:]:
                    left[row, place] -= error * inverse[0, place - column]
                left[row, column] = 0.0
    return left.tolist()


def problem(columns: int = 16) -> tuple[Tensor, Tensor]:
    """A weight and the Hessian of correlated inputs."""
    rng = torch.Generator().manual_seed(3)
    draw = partial(torch.randn, generator=rng, dtype=torch.float64)
    inputs = draw(80, columns) @ draw(columns, columns)
    return draw(5, columns), inputs.T @ inputs


@pytest.mark.parametrize("block_size", [4, 8, 12, 16, 128])
@pytest.mark.parametrize("sparsity", [0.5, 0.25])
def test_without_a_pattern_it_is_the_papers_algorithm(sparsity: float, block_size: int) -> None:
    weight, hessian = problem()
    choose = partial(keep_highest, sparsity=sparsity)
    factor = inverse_factor_(hessian.clone(), 0.0)
    updated, _ = prune_columns(weight, factor, block_size, block_size, choose)
    expected = one_weight_at_a_time(weight, hessian, block_size, sparsity, by_row=False)
    assert torch.allclose(updated, torch.tensor(expected, dtype=torch.float64), atol=1e-6)
    assert int((updated == 0).sum()) == sparsity * 80


@pytest.mark.parametrize("blocks", [1, 2, 3, 64])
@pytest.mark.parametrize(("kept", "group"), [(2, 4), (1, 4), (4, 8), (1, 2), (3, 4)])
def test_a_pattern_is_chosen_group_by_group_on_updated_weights(
    kept: int, group: int, blocks: int
) -> None:
    """Whatever the block size: a mask that was chosen for a whole block beforehand is another."""
    weight, hessian = problem(24)
    choose = partial(keep_pattern, kept=kept, group=group)
    factor = inverse_factor_(hessian.clone(), 0.0)
    updated, mask = prune_columns(weight, factor, blocks * group, group, choose)
    expected = one_weight_at_a_time(weight, hessian, group, 1 - kept / group, by_row=True)
    assert torch.allclose(updated, torch.tensor(expected, dtype=torch.float64), atol=1e-6)
    assert ((updated == 0) == ~mask).all()
    beforehand = prune_columns(weight, factor, 24, 24, choose)[1]
    assert not torch.equal(mask, beforehand)


def test_each_block_of_columns_loses_the_asked_fraction(
    teacher: CompressedModel, context: Contexts
) -> None:
    pruned = pruner("sparsegpt", "sparsity=0.25", "block_size=8").prune(teacher, context(teacher))
    for linear in block_linears(pruned.module).values():
        for part in linear.weight.split(8, dim=1):
            assert int((part == 0).sum()) == part.numel() // 4


def test_a_singular_hessian_says_what_to_raise(teacher: CompressedModel, context: Contexts) -> None:
    """One calibration row: fewer tokens than features, so XᵀX has no inverse."""
    ctx = context(teacher)
    ctx = replace(ctx, data=replace(ctx.data, calibration=make_split(1, "calibration")))
    with pytest.raises(UserError, match=r"Hessian of bert\.encoder\.layer\.0.* pruner\.damping=0"):
        pruner("sparsegpt", "damping=0").prune(teacher, ctx)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["block_size=0"], "block_size must be > 0"),
        (["damping=-1"], "damping must be >= 0"),
        (["pattern='2:4'", "block_size=6"], "must be a multiple of 4"),
    ],
)
def test_bad_settings_are_refused(overrides: list[str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        pruner("sparsegpt", *overrides)
