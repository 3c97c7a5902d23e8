from __future__ import annotations

import pytest
import torch

from compress.transformer.bit_packing import pack_codes, packed_size, unpack_codes


def test_three_bits_by_hand() -> None:
    """001 010 011 100 101 110 111 000 is 00101001 11001011 10111000."""
    codes = torch.tensor([1, 2, 3, 4, 5, 6, 7, 0], dtype=torch.uint8)
    assert pack_codes(codes, 3).tolist() == [0x29, 0xCB, 0xB8]
    assert pack_codes(codes[:1], 3).tolist() == [0x20, 0, 0]


def test_two_and_eight_bits_by_hand() -> None:
    codes = torch.tensor([1, 2, 3, 0, 2], dtype=torch.uint8)
    assert pack_codes(codes, 2).tolist() == [0b01101100, 0b10000000]
    assert pack_codes(codes, 8).tolist() == [1, 2, 3, 0, 2]


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
@pytest.mark.parametrize("columns", [1, 7, 8, 9, 64])
def test_nothing_is_lost(columns: int, bits: int) -> None:
    codes = torch.randint(0, 2**bits, (3, 5, columns), dtype=torch.uint8)
    packed = pack_codes(codes, bits)
    assert packed.shape == (3, 5, packed_size(columns, bits))
    assert torch.equal(unpack_codes(packed, columns, bits), codes)
