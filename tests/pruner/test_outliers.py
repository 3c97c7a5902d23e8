"""Outlier weighed layerwise sparsity."""

from __future__ import annotations

import pytest
import torch

from compress.config.errors import ConfigError
from compress.interfaces import CompressedModel
from compress.pruner.components.outliers import layer_sparsities, outlier_share
from compress.transformer.stacks import find_stack
from tests.pruner.made import Contexts, pruner


def test_outliers_are_counted_over_all_matrices_of_a_layer() -> None:
    scores = [torch.tensor([[1.0, 1.0, 1.0]]), torch.tensor([[1.0], [26.0]])]
    # The mean is 6; of the second matrix alone it would be 13.5.
    assert outlier_share(scores, 4) == 1 / 5
    assert outlier_share(scores, 5) == 0


def test_sparsities_by_hand() -> None:
    assert layer_sparsities([0.02, 0.01, 0.03], [5, 5, 5], 0.7, 0.1) == pytest.approx(
        [0.7, 0.8, 0.6]
    )
    unequal = layer_sparsities([0.01, 0.03], [30, 10], 0.5, 0.1)
    assert unequal == pytest.approx([0.55, 0.35])
    assert (30 * unequal[0] + 10 * unequal[1]) / 40 == pytest.approx(0.5)
    assert layer_sparsities([0.2, 0.2], [1, 1], 0.5, 0.1) == [0.5, 0.5]


@pytest.mark.parametrize("name", ["wanda", "sparsegpt"])
def test_layers_lose_what_their_outliers_say_and_all_what_was_asked(
    name: str, teacher: CompressedModel, context: Contexts
) -> None:
    method = pruner(name, "owl=0.1", "owl_multiple=3")
    pruned = method.prune(teacher, context(teacher))
    told = pruned.history[-1].notes["owl_sparsities"]
    assert max(told) - min(told) == pytest.approx(0.2)
    zeros, weights = 0, 0
    for block, expected in zip(find_stack(pruned.module).blocks, told, strict=True):
        parts = [p.weight for p in block.modules() if isinstance(p, torch.nn.Linear)]
        lost = sum(int((part == 0).sum()) for part in parts)
        count = sum(part.numel() for part in parts)
        assert lost / count == pytest.approx(expected, abs=0.04)  # rows of 16 or 32
        zeros, weights = zeros + lost, weights + count
    assert zeros / weights == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (("owl=0.25",), "owl must be below 0.25 with sparsity=0.5, got 0.25"),
        (("owl=0.1", "pattern='2:4'"), "owl gives layers unequal shares, pattern"),
        (("owl=0.06", "sparsity=0.9"), "owl must be below 0.05 with sparsity=0.9"),
    ],
)
def test_what_cannot_be_is_refused(overrides: tuple[str, ...], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        pruner("wanda", *overrides)
