from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from compress.config.errors import ConfigError
from compress.interfaces import CompressedModel
from compress.pruner.components.masks import keep_highest_per_row, keep_pattern
from compress.pruner.wanda import Wanda
from compress.transformer.blocks import block_linears
from compress.transformer.calibration import input_norms
from tests.pruner.made import Contexts, pruner

# Worked by hand: W, ‖X‖, the scores, and the mask at 50 % per row.
WEIGHT = torch.tensor([[4.0, 0.0, 1.0, -1.0], [3.0, -2.0, -1.0, -3.0], [-3.0, 1.0, 0.0, 2.0]])
NORM = torch.tensor([1.0, 2.0, 8.0, 3.0])
SCORE = torch.tensor([[4.0, 0.0, 8.0, 3.0], [3.0, 4.0, 8.0, 9.0], [3.0, 2.0, 0.0, 6.0]])
MASK = torch.tensor([[1, 0, 1, 0], [0, 0, 1, 1], [1, 0, 0, 1]], dtype=torch.bool)


def test_score_and_mask_by_hand() -> None:
    wanda = pruner("wanda")
    assert torch.equal(wanda.score(WEIGHT, NORM), SCORE)
    assert torch.equal(keep_highest_per_row(SCORE, 0.5), MASK)
    assert not torch.equal(keep_highest_per_row(WEIGHT.abs(), 0.5), MASK), "magnitude's is another"


@pytest.mark.parametrize(
    ("sparsity", "columns", "zeros"),
    [(0.0, 10, 0), (0.3, 10, 3), (0.29, 100, 29), (0.3, 384, 115), (0.5, 7, 4), (0.999, 4, 4)],
)
def test_each_row_loses_exactly_the_asked_fraction(
    sparsity: float, columns: int, zeros: int
) -> None:
    score = torch.rand(5, columns, generator=torch.Generator().manual_seed(0))
    mask = keep_highest_per_row(score, sparsity)
    assert (~mask).sum(dim=1).tolist() == [zeros] * 5


def test_ties_lose_exactly_as_many() -> None:
    assert keep_highest_per_row(torch.ones(2, 8), 0.25).sum(dim=1).tolist() == [6, 6]


def test_two_of_four_by_hand() -> None:
    score = torch.tensor([[1.0, 2.0, 3.0, 4.0, 8.0, 7.0, 6.0, 5.0]])
    assert keep_pattern(score, 2, 4).int().tolist() == [[0, 0, 1, 1, 1, 1, 0, 0]]
    assert keep_pattern(score, 1, 4).int().tolist() == [[0, 0, 0, 1, 1, 0, 0, 0]]


def test_input_norms_add_up_over_calls_and_positions() -> None:
    block = nn.Sequential(nn.Linear(2, 3))
    calls = (torch.tensor([[[1.0, 2.0], [2.0, 0.0]]]), torch.tensor([[[2.0, 0.0]]]))
    norms = input_norms({"first": block[0]}, lambda: (block(call) for call in calls))
    assert norms["first"].tolist() == [3.0, 2.0]  # √(1 + 4 + 4), √(4)
    assert not block[0]._forward_pre_hooks, "the hook is gone"


def test_first_layer_is_pruned_as_the_formula_says(
    teacher: CompressedModel, context: Contexts
) -> None:
    ctx = context(teacher)
    wanda = pruner("wanda", "sparsity=0.25")
    name = next(iter(block_linears(teacher.module)))
    caught: list[torch.Tensor] = []
    layer = teacher.module.get_submodule(name)
    handle = layer.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
    with torch.no_grad():
        for row in ctx.data.calibration.encode(teacher.tokenizer).remove_columns("length"):
            teacher.module(**{k: torch.tensor([v]) for k, v in row.items()})
    handle.remove()
    norm = torch.cat([x.reshape(-1, x.shape[-1]) for x in caught]).norm(dim=0)
    weight = layer.get_parameter("weight")
    columns = weight.shape[1]
    lowest = (weight.abs() * norm).argsort(dim=1)[:, : math.floor(0.25 * columns + 0.5)]
    expected = weight.detach().clone().scatter(1, lowest, 0.0)
    pruned = wanda.prune(teacher, ctx)
    assert torch.equal(pruned.module.get_parameter(f"{name}.weight"), expected)


def test_later_layers_see_the_pruned_ones_before_them(
    teacher: CompressedModel, context: Contexts
) -> None:
    """Norms of the second layer are taken behind the pruned first one."""
    ctx = context(teacher)
    seen: dict[float, torch.Tensor] = {}
    for sparsity in (0.0, 0.9):
        wanda = pruner("wanda", f"sparsity={sparsity}")
        calls: list[torch.Tensor] = []

        def spy(
            _: Wanda, w: torch.Tensor, n: torch.Tensor, calls: list[torch.Tensor] = calls
        ) -> torch.Tensor:
            calls.append(n.clone())
            return w.abs() * n

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Wanda, "score", spy)
            wanda.prune(teacher, ctx)
        per_block = len(calls) // teacher.module.config.num_hidden_layers
        assert torch.isfinite(calls[per_block]).all()
        seen[sparsity] = calls[per_block]
    assert not torch.allclose(seen[0.0], seen[0.9])


def test_layer_threshold_takes_the_fraction_of_the_layer_and_global_is_refused(
    teacher: CompressedModel, context: Contexts
) -> None:
    wanda = pruner("wanda", "sparsity=0.25", "threshold=layer")
    uneven = 0
    for linear in block_linears(wanda.prune(teacher, context(teacher)).module).values():
        zeros = (linear.weight == 0).sum(dim=1)
        assert int(zeros.sum()) == linear.weight.numel() // 4
        uneven += len(set(zeros.tolist())) > 1
    assert uneven
    with pytest.raises(ConfigError, match=r"threshold must be one of row, layer; got global"):
        pruner("wanda", "threshold=global")


def test_pattern_must_agree_with_sparsity_and_fit(teacher: CompressedModel) -> None:
    with pytest.raises(ConfigError, match=r"means sparsity 0\.75, got sparsity=0\.5"):
        pruner("wanda", "pattern='1:4'")
    wanda = pruner("wanda", "pattern='4:8'")
    wanda.check(teacher.module)
    wide = pruner("wanda", "pattern='3:6'")
    with pytest.raises(ConfigError, match="rows of 16 weights, expected a multiple of 6"):
        wide.check(teacher.module)
