from __future__ import annotations

import pytest
import torch

from compress.config.errors import ConfigError
from compress.interfaces import CompressedModel
from compress.pruner.components.masks import keep_highest
from compress.transformer.blocks import block_linears
from tests.pruner.made import Contexts, pruner


def test_by_hand() -> None:
    weight = torch.tensor([[0.1, -4.0], [3.0, -0.2]])
    score = pruner("magnitude").score(weight, torch.ones(2))
    assert torch.equal(score, torch.tensor([[0.1, 4.0], [3.0, 0.2]]))
    assert keep_highest(score, 0.5).tolist() == [[False, True], [True, False]]
    assert keep_highest(score, 0.75).tolist() == [[False, True], [False, False]]


@pytest.mark.parametrize("threshold", ["row", "layer"])
def test_every_row_or_layer_loses_the_same_share(
    threshold: str, teacher: CompressedModel, context: Contexts
) -> None:
    pruned = pruner("magnitude", "sparsity=0.25", f"threshold={threshold}").prune(
        teacher, context(teacher)
    )
    for linear in block_linears(pruned.module).values():
        zeros, (rows, columns) = linear.weight == 0, linear.weight.shape
        assert int(zeros.sum()) == rows * columns // 4
        assert (set(zeros.sum(dim=1).tolist()) == {columns // 4}) == (threshold == "row")


def test_global_threshold_drops_the_smallest_of_all_layers(
    teacher: CompressedModel, context: Contexts
) -> None:
    before = {k: v.weight.detach().clone() for k, v in block_linears(teacher.module).items()}
    pruned = pruner("magnitude", "sparsity=0.3", "threshold=global").prune(
        teacher, context(teacher)
    )
    after = {k: v.weight.detach() for k, v in block_linears(pruned.module).items()}
    gone = torch.cat([before[k][after[k] == 0].abs() for k in before])
    kept = torch.cat([before[k][after[k] != 0].abs() for k in before])
    assert gone.max() <= kept.min()
    assert len(gone) == round(0.3 * (len(gone) + len(kept)))
    shares = {float((weight == 0).float().mean()) for weight in after.values()}
    assert len(shares) > 1


def test_pattern_goes_per_layer() -> None:
    with pytest.raises(ConfigError, match="threshold=layer, got threshold=global"):
        pruner("magnitude", "pattern='2:4'", "threshold=global")
