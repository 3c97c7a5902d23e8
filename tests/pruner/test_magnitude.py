from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from compress.config.errors import ConfigError
from compress.interfaces import CompressedModel, StageContext
from compress.pruner.components.masks import keep_highest
from compress.pruner.magnitude import Magnitude
from compress.transformer.blocks import block_linears
from tests.configs import settings_of


def magnitude(*overrides: str) -> Magnitude:
    made = settings_of("pruner", "magnitude", *overrides)
    assert isinstance(made, Magnitude)
    return made


def test_by_hand() -> None:
    weight = torch.tensor([[0.1, -4.0], [3.0, -0.2]])
    score = magnitude().score(weight, torch.ones(2))
    assert torch.equal(score, torch.tensor([[0.1, 4.0], [3.0, 0.2]]))
    assert keep_highest(score, 0.5).tolist() == [[False, True], [True, False]]
    assert keep_highest(score, 0.75).tolist() == [[False, True], [False, False]]


def test_layer_threshold_takes_the_same_share_of_every_layer(
    teacher: CompressedModel, context: Callable[[CompressedModel], StageContext]
) -> None:
    pruned = magnitude("pruner.sparsity=0.25").prune(teacher, context(teacher))
    for linear in block_linears(pruned.module).values():
        assert int((linear.weight == 0).sum()) == linear.weight.numel() // 4


def test_global_threshold_drops_the_smallest_of_all_layers(
    teacher: CompressedModel, context: Callable[[CompressedModel], StageContext]
) -> None:
    before = {k: v.weight.detach().clone() for k, v in block_linears(teacher.module).items()}
    pruned = magnitude("pruner.sparsity=0.3", "pruner.threshold=global").prune(
        teacher, context(teacher)
    )
    after = {k: v.weight.detach() for k, v in block_linears(pruned.module).items()}
    gone = torch.cat([before[k][after[k] == 0].abs() for k in before])
    kept = torch.cat([before[k][after[k] != 0].abs() for k in before])
    assert gone.max() <= kept.min()
    assert len(gone) == round(0.3 * (len(gone) + len(kept)))
    shares = {float((weight == 0).float().mean()) for weight in after.values()}
    assert len(shares) > 1


def test_row_threshold_takes_the_same_share_of_every_row(
    teacher: CompressedModel, context: Callable[[CompressedModel], StageContext]
) -> None:
    pruned = magnitude("pruner.sparsity=0.25", "pruner.threshold=row").prune(
        teacher, context(teacher)
    )
    for linear in block_linears(pruned.module).values():
        rows, columns = linear.weight.shape
        assert (linear.weight == 0).sum(dim=1).tolist() == [columns // 4] * rows


def test_pattern_goes_per_layer() -> None:
    with pytest.raises(ConfigError, match="threshold=layer, got threshold=global"):
        magnitude("pruner.pattern='2:4'", "pruner.threshold=global")
