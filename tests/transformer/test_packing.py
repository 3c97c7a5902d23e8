from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from compress.transformer.bit_packing import (
    look_up_codes,
    pack_codes,
    pack_signed,
    packed_size,
    unpack_codes,
)
from compress.transformer.checkpoint_files import find_model
from compress.transformer.packing import (
    center_groups,
    dequantize_groups,
    group_bound,
    group_count,
    quantize_groups,
    scale_factors,
)
from compress.transformer.quantized_embedding import INT4_GROUP_SIZE


def gaussian(rows: int, columns: int) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))


def restored(weight: Tensor, group_size: int, symmetric: bool) -> Tensor:
    codes, scale, zero = quantize_groups(weight, group_size, symmetric=symmetric)
    return dequantize_groups(pack_codes(codes), scale, zero, group_size, weight.shape[-1])


def test_symmetric_by_hand() -> None:
    # Groups of 2: -4 is -8 steps of 0.5, 8 of -1; zeros; and -14 alone in the last one.
    weight = torch.tensor([[-4.0, 1.5, 8.0, -7.0, 0.0, 0.0, -14.0]])
    codes, scale, zero = quantize_groups(weight, 2, symmetric=True)
    assert scale.tolist() == [[0.5, -1.0, 1.0, 1.75]]
    assert codes.tolist() == [[0, 8 + 3, 0, 8 + 7, 8, 8, 0]]
    assert zero.tolist() == [[8, 8, 8, 8]]
    assert torch.equal(restored(weight, 2, True), weight)


def test_the_search_by_hand() -> None:
    """In units of the plain scale, -8 and 7.84: eight codes on one side, seven on the other.

    Plain: 7.84 is cut to 7. 12 % longer, in bfloat16 143/128: both are seven steps, to 7.82.
    """
    codes, scale, _ = quantize_groups(torch.tensor([[-8.0, 7.84]]), 2, symmetric=True)
    assert scale.tolist() == [[143 / 128]]
    assert codes.tolist() == [[1, 15]]


def squared_error(row: list[float], scale: float) -> float:
    codes = [min(max(round(weight / scale), -8), 7) for weight in row]
    return sum((code * scale - w) ** 2 for code, w in zip(codes, row, strict=True))


def test_no_other_length_of_the_scale_is_nearer() -> None:
    weight = gaussian(200, 16)
    _, found, _ = quantize_groups(weight, 16, symmetric=True)
    factors = set()
    for row, scale in zip(weight.tolist(), found.flatten().tolist(), strict=True):
        plain = max(row, key=abs) / -8
        all_scales = torch.tensor([plain * f for f in scale_factors(8)]).bfloat16().tolist()
        errors = [squared_error(row, each) for each in all_scales]
        assert squared_error(row, scale) <= min(errors) + 1e-6
        factors.add(round(scale / plain, 2))
    assert len(factors) > 8
    assert min(factors) <= 0.9 < 1.1 <= max(factors)


def largest_as_7(weight: Tensor) -> Tensor:
    """What symmetric int4 mostly is: max|W| is the code 7."""
    grouped = weight.view(len(weight), -1, INT4_GROUP_SIZE)
    step = (grouped.abs().amax(dim=-1, keepdim=True) / 7).bfloat16().float()
    return ((grouped / step).round() * step).view_as(weight)


def plain_q4_0(weight: Tensor) -> Tensor:
    """llama.cpp's quantize_row_q4_0_ref, with bfloat16 scales."""
    grouped = weight.view(len(weight), -1, INT4_GROUP_SIZE)
    extreme = grouped.gather(-1, grouped.abs().argmax(dim=-1, keepdim=True))
    step = (extreme / -8).bfloat16().float()
    return ((grouped / step).round().clamp(-8, 7) * step).view_as(weight)


def minilm_table() -> Tensor:
    """Every eighth row of a real table of token embeddings."""
    folder = find_model("sentence-transformers/all-MiniLM-L6-v2")
    with safe_open(folder / "model.safetensors", "pt") as file:
        found: Tensor = file.get_tensor("embeddings.word_embeddings.weight")
    return found[::8].float()


@pytest.mark.parametrize("table", [lambda: gaussian(500, 384), minilm_table])
def test_less_error_than_other_symmetric_int4(table: Callable[[], Tensor]) -> None:
    """Of the squared error with the largest at 7, 78 % with it at -8 and 70 % with the search."""
    weight = table()
    ways = largest_as_7(weight), plain_q4_0(weight), restored(weight, INT4_GROUP_SIZE, True)
    errors = torch.stack([(way - weight).square() for way in ways])
    total = errors.sum(dim=(1, 2))
    assert total[1] / total[0] == pytest.approx(0.78, abs=0.02)
    assert total[2] / total[0] == pytest.approx(0.70, abs=0.02)
    groups = errors.view(3, -1, INT4_GROUP_SIZE).sum(dim=2)
    assert (groups[2] <= groups[1] * (1 + 1e-5)).all()
    assert (groups[2] < 0.99 * groups[1]).float().mean() > 0.8


def test_asymmetric_by_hand() -> None:
    # -1..6.5 is 15 steps of 0.5, zero two steps up. 3..7.5 is widened to 0..7.5.
    weight = torch.tensor([[-1.0, 0.0, 6.5, 1.4], [3.0, 7.5, 7.5, 7.5]])
    codes, scale, zero = quantize_groups(weight, 4, symmetric=False)
    assert scale.tolist() == [[0.5], [0.5]]
    assert zero.tolist() == [[2], [0]]
    assert codes.tolist() == [[0, 2, 15, 5], [6, 15, 15, 15]]
    assert center_groups(codes, zero, 4).tolist() == [[-2, 0, 13, 3], [6, 15, 15, 15]]
    assert restored(weight, 4, False).tolist() == [[-1.0, 0.0, 6.5, 1.5], [3.0, 7.5, 7.5, 7.5]]


SHAPES = [(64, 16), (65, 16), (7, 3), (5, 1), (9, 64)]


@pytest.mark.parametrize(("columns", "group_size"), SHAPES)
def test_asymmetric_rounding_is_off_by_half_a_step_at_most(columns: int, group_size: int) -> None:
    weight = gaussian(16, columns)
    _, scale, _ = quantize_groups(weight, group_size, symmetric=False)
    assert scale.shape == (16, group_count(columns, group_size))
    step = scale.float().repeat_interleave(group_size, dim=1)[:, :columns]
    error = (restored(weight, group_size, False) - weight).abs()
    # bfloat16 has 8 significant bits: 15 steps of its rounded scale may end up to 0.06 too early.
    assert (error <= step * (0.5 + 15 * 2**-8) + 1e-7).all()
    bound = group_bound(weight, group_size, symmetric=False)
    assert (error <= bound).all()
    assert (bound <= step * 0.57).all(), "the bound says no more than that"


@pytest.mark.parametrize(("columns", "group_size"), SHAPES)
def test_symmetric_rounding_keeps_its_bound(columns: int, group_size: int) -> None:
    weight = gaussian(2000, columns)
    _, scale, _ = quantize_groups(weight, group_size, symmetric=True)
    step = scale.float().abs().repeat_interleave(group_size, dim=1)[:, :columns]
    error = (restored(weight, group_size, True) - weight).abs()
    # Half a step but where the scale was cut: there a grid of 15 or 16 codes ends before.
    assert (error <= torch.maximum(0.5 * step, weight.abs() - 7 * step) + 1e-6).all()
    bound = group_bound(weight, group_size, symmetric=True)
    ratio = error / bound
    assert 0.9 < ratio.max() <= 1


def test_the_symmetric_bound_by_hand() -> None:
    """In units of max|W| / 8, and bfloat16 adds 2⁻⁸ of a scale: factors are 0.8566 to 1.1244.

    Up to half a step of the longest scale; beyond seven codes of the shortest what they lack, on
    the side of the largest eight. But the plain scale has 0.4 of -6.4 and 0.5 of 2.5 as errors, so
    that none is more than 0.64 off; in the other row 1 of 8, but none elsewhere.
    """
    weight = torch.tensor([[8.0, -6.4, 2.5, 0.0], [-8.0, 8.0, 1.0, 0.0]])
    half, together = 1.12 * (1 + 2**-8) / 2, (0.4**2 + 0.5**2) ** 0.5
    cut = 8 - 8 * 0.86 * (1 - 2**-8), 6.4 - 7 * 0.86 * (1 - 2**-8)
    assert cut[1] < half < together < cut[0]
    expected = [[together, half, half, half], [1.0, 1.0, half, half]]
    found = group_bound(weight, 4, symmetric=True)
    assert found.tolist() == [pytest.approx(row, rel=1e-4) for row in expected]


@pytest.mark.parametrize("symmetric", [True, False])
def test_smaller_groups_are_nearer(symmetric: bool) -> None:
    weight = gaussian(32, 256)
    errors = [
        float((restored(weight, g, symmetric) - weight).square().mean()) for g in (16, 64, 256)
    ]
    assert errors[0] < 0.8 * errors[1] < 0.8 * errors[2]


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


def test_zero_points_help_where_weights_are_on_one_side() -> None:
    weight = gaussian(32, 64).abs()
    errors = [float((restored(weight, 64, s) - weight).square().mean()) for s in (True, False)]
    assert errors[0] > 2 * errors[1]


def test_packing_by_hand() -> None:
    codes = torch.tensor([[1, 2, 15], [0, 9, 4]], dtype=torch.uint8)
    assert pack_codes(codes).tolist() == [[0x12, 0xF0], [0x09, 0x40]]


def test_signed_packing_by_hand() -> None:
    """Two's complement, rows without padding: -8 is 8, -1 is 15."""
    codes = torch.tensor([[1, 2, -1], [0, -8, 7]], dtype=torch.int8)
    assert pack_signed(codes).tolist() == [0x21, 0x0F, 0x78]
    assert pack_signed(codes[:, :1][:1]).tolist() == [0x01]


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
