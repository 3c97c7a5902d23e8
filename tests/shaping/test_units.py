"""How many units stay in each layer, and which."""

from __future__ import annotations

import pytest
import torch

from compress.shaping.units import global_kept, highest, ranked, uniform_kept


@pytest.mark.parametrize(
    ("counts", "sparsity", "round_to", "kept"),
    [
        ([12, 12], 0.25, 1, [9, 9]),
        ([12, 12], 0.3, 1, [8, 8]),  # 8.4
        ([12], 0.99, 1, [1]),
        ([12], 0.25, 4, [8]),  # 9 is nearer to 8 than to 12
        ([12], 0.15, 4, [12]),  # 10.2 is not
        ([12], 0.9, 4, [4]),
        ([10], 0.05, 4, [8]),  # 9.5 is nearest to 8: there is no third multiple
        ([10], 0.0, 4, [10]),
        ([16, 8], 0.5, 1, [8, 4]),  # the same fraction of layers that are uneven already
    ],
)
def test_uniform_counts(counts: list[int], sparsity: float, round_to: int, kept: list[int]) -> None:
    assert uniform_kept(counts, sparsity, round_to) == kept


def test_global_counts_compare_layers_by_their_norm() -> None:
    # Over their norms 5 and 50: .6 .8 and 0 0 .6 .8. One more than the best two: the earlier .6.
    scores = [torch.tensor([3.0, 4.0]), torch.tensor([0.0, 0.0, 30.0, 40.0])]
    assert global_kept(scores, 0.5, 1) == [2, 1]
    assert global_kept(scores[::-1], 0.5, 1) == [2, 1]
    assert global_kept(scores, 0.0, 1) == [2, 4]


def test_global_counts_in_groups_by_hand() -> None:
    # Both have norm 1. Groups of two: .6 .3 and .6 .2; alone: .7 .5 .5 .1 and .9 .3 .3 .1.
    scores = [torch.tensor([0.1, 0.7, 0.5, 0.5]), torch.tensor([0.3, 0.9, 0.1, 0.3])]
    assert global_kept(scores, 0.25, 2) == [4, 2]
    assert global_kept(scores, 0.25, 1) == [3, 3]
    assert global_kept(scores, 0.5, 2) == [2, 2]
    assert global_kept(scores, 0.9, 2) == [2, 2], "every layer keeps a group"
    assert global_kept(scores, 0.4, 2) == [2, 2], "4.8 of 8 is nearer to 4 than to 6"
    # .5 is as high as the best of .5 and .1; by the mean of the two it is higher.
    assert global_kept([scores[0], torch.ones(4)], 0.25, 2) == [2, 4]
    scores[1] = torch.tensor([0.3, 0.9, 0.1, 0.3, 0.05])
    assert global_kept(scores, 0.1, 2) == [4, 4], "what fills no group goes"


def test_a_layer_without_any_score_yields_to_the_others() -> None:
    assert global_kept([torch.zeros(4), torch.ones(4)], 0.375, 1) == [1, 4]


def test_of_equal_scores_the_earlier_stays() -> None:
    assert highest(torch.tensor([1.0, 2.0, 1.0, 2.0]), 3).tolist() == [0, 1, 3]
    assert ranked(torch.tensor([1.0, 2.0, 1.0, 2.0])).tolist() == [1, 3, 0, 2]
