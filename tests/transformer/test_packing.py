from __future__ import annotations

import pytest
import torch
from torch import Tensor

from compress.transformer.packing import (
    center_groups,
    dequantize_groups,
    group_bound,
    group_count,
    look_up_codes,
    pack_codes,
    packed_size,
    quantize_groups,
    unpack_codes,
)


def gaussian(rows: int, columns: int) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))


def restored(weight: Tensor, group_size: int, symmetric: bool) -> Tensor:
    codes, scale, zero = quantize_groups(weight, group_size, symmetric=symmetric)
    return dequantize_groups(pack_codes(codes), scale, zero, group_size, weight.shape[-1])


def test_symmetric_by_hand() -> None:
    # Groups of 2: largest 3.5, 0 and, alone in the last one, 14.
    weight = torch.tensor([[3.5, -1.2, 0.0, 0.0, -14.0]])
    codes, scale, zero = quantize_groups(weight, 2, symmetric=True)
    assert scale.tolist() == [[0.5, 1.0, 2.0]]
    assert codes.tolist() == [[8 + 7, 8 - 2, 8, 8, 8 - 7]]
    assert zero.tolist() == [[8, 8, 8]]
    assert restored(weight, 2, True).tolist() == [[3.5, -1.0, 0.0, 0.0, -14.0]]


def test_asymmetric_by_hand() -> None:
    # -1..6.5 is 15 steps of 0.5, zero two steps up. 3..7.5 is widened to 0..7.5.
    weight = torch.tensor([[-1.0, 0.0, 6.5, 1.4], [3.0, 7.5, 7.5, 7.5]])
    codes, scale, zero = quantize_groups(weight, 4, symmetric=False)
    assert scale.tolist() == [[0.5], [0.5]]
    assert zero.tolist() == [[2], [0]]
    assert codes.tolist() == [[0, 2, 15, 5], [6, 15, 15, 15]]
    assert center_groups(codes, zero, 4).tolist() == [[-2, 0, 13, 3], [6, 15, 15, 15]]
    assert restored(weight, 4, False).tolist() == [[-1.0, 0.0, 6.5, 1.5], [3.0, 7.5, 7.5, 7.5]]


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("columns", "group_size"), [(64, 16), (65, 16), (7, 3), (5, 1), (9, 64)])
def test_rounding_is_off_by_half_a_step_at_most(
    columns: int, group_size: int, symmetric: bool
) -> None:
    weight = gaussian(16, columns)
    _, scale, _ = quantize_groups(weight, group_size, symmetric=symmetric)
    assert scale.shape == (16, group_count(columns, group_size))
    step = scale.float().repeat_interleave(group_size, dim=1)[:, :columns]
    error = (restored(weight, group_size, symmetric) - weight).abs()
    # bfloat16 has 8 significant bits: 15 steps of its rounded scale may end up to 0.06 too early.
    assert (error <= step * (0.5 + (0 if symmetric else 15 * 2**-8)) + 1e-7).all()
    bound = group_bound(weight, group_size, symmetric=symmetric)
    assert (error <= bound).all()
    assert (bound <= step * 0.57).all(), "the bound says no more than that"


def test_the_largest_of_a_symmetric_group_is_met() -> None:
    weight = gaussian(32, 64)
    largest = weight.abs().view(32, 4, 16).amax(dim=2)
    found = restored(weight, 16, True).abs().view(32, 4, 16).amax(dim=2)
    assert ((found - largest).abs() <= largest * 2**-8).all()


@pytest.mark.parametrize("symmetric", [True, False])
def test_smaller_groups_are_nearer_and_zero_points_help(symmetric: bool) -> None:
    weight = gaussian(32, 256)
    errors = [
        float((restored(weight, g, symmetric) - weight).square().mean()) for g in (16, 64, 256)
    ]
    assert errors[0] < 0.8 * errors[1] < 0.8 * errors[2]
    other = float((restored(weight, 64, not symmetric) - weight).square().mean())
    assert (errors[1] > 1.2 * other) == symmetric


@pytest.mark.parametrize("symmetric", [True, False])
def test_zeros_stay_zeros_whatever_stands_beside_them(symmetric: bool) -> None:
    weight = gaussian(8, 33) + 3  # one-sided groups too
    weight[:, ::2] = 0
    weight[0] = 0
    codes, _, zero = quantize_groups(weight, 8, symmetric=symmetric)
    assert (center_groups(codes, zero, 8)[:, ::2] == 0).all()
    assert (restored(weight, 8, symmetric)[0] == 0).all()
    assert (restored(weight, 8, symmetric)[1:, 1::2] != 0).any()


def test_weights_too_small_for_a_scale_become_zero() -> None:
    assert restored(torch.full((1, 4), 1e-45), 4, False).tolist() == [[0.0] * 4]


def test_packing_by_hand() -> None:
    codes = torch.tensor([[1, 2, 15], [0, 9, 4]], dtype=torch.uint8)
    assert pack_codes(codes).tolist() == [[0x12, 0xF0], [0x09, 0x40]]


@pytest.mark.parametrize("columns", [1, 2, 3, 8, 17])
def test_packing_round_trip(columns: int) -> None:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 16, (2, 5, columns), dtype=torch.uint8, generator=generator)
    packed = pack_codes(codes)
    assert packed.shape == (2, 5, packed_size(columns))
    assert packed_size(columns) == (columns + 1) // 2
    assert torch.equal(unpack_codes(packed, columns), codes)


def test_codes_are_looked_up_two_at_a_time() -> None:
    values = torch.arange(16) * 1.5 - 3
    packed = torch.tensor([[[0x12, 0xF0]], [[0x09, 0x40]]], dtype=torch.uint8)
    expected = [[[-1.5, 0.0, 19.5, -3.0]], [[-3.0, 10.5, 3.0, -3.0]]]
    assert look_up_codes(packed, values).tolist() == expected
