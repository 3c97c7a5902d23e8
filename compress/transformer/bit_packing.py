"""Codes of a few bits in bytes: the first code in a byte's upper bits.

Codes of 2, 4 and 8 bits fill each byte; eight codes of 3 bits share three.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int8, UInt8
from torch import Tensor
from torch.nn import functional

NIBBLE = 15


def packed_size(columns: int, bits: int = 4) -> int:
    """Bytes of a row of codes."""
    codes, size = _unit(bits)
    return -(-columns // codes) * size


def pack_codes(codes: UInt8[Tensor, "... columns"], bits: int = 4) -> UInt8[Tensor, "... bytes"]:
    """Each row of codes as bytes; the last unit is padded with 0.

    Args:
        codes: below 2 to the power of `bits`.
        bits: of a code, at most 8.
    """
    if bits == 8:
        return codes
    count, size = _unit(bits)
    padded = functional.pad(codes, (0, -codes.shape[-1] % count))
    units = padded.reshape(*padded.shape[:-1], -1, count)
    joined = (units.int() << _shifts(count, bits, codes.device)).sum(-1, True, dtype=torch.int32)
    split = joined >> _shifts(size, 8, codes.device) & 255
    return split.to(torch.uint8).flatten(-2)


def unpack_codes(
    packed: UInt8[Tensor, "... bytes"], columns: int, bits: int = 4
) -> UInt8[Tensor, "... columns"]:
    """The inverse of `pack_codes`."""
    if bits == 8:
        return packed
    count, size = _unit(bits)
    units = packed.reshape(*packed.shape[:-1], -1, size)
    joined = (units.int() << _shifts(size, 8, packed.device)).sum(-1, True, dtype=torch.int32)
    codes: Tensor = joined >> _shifts(count, bits, packed.device) & (2**bits - 1)
    return codes.to(torch.uint8).flatten(-2)[..., :columns]


def pack_signed(codes: Int8[Tensor, ...]) -> UInt8[Tensor, " bytes"]:
    """Codes of -8..7, two in each byte, the first in the lower half: int4 of ONNX and OpenVINO."""
    flat = (codes.flatten() & NIBBLE).to(torch.uint8)
    pairs = functional.pad(flat, (0, len(flat) % 2)).view(-1, 2)
    return pairs[:, 1] << 4 | pairs[:, 0]


def look_up_codes(
    packed: UInt8[Tensor, "... bytes"], values: Float[Tensor, " 16"]
) -> Float[Tensor, "... columns"]:
    """The value of each code of 4 bits, in a new tensor.

    Each byte is looked up as eight bytes, which are two float32 values: many times faster than
    unpacking the codes first.
    """
    byte = torch.arange(256, device=packed.device)
    pairs = torch.stack([values[byte >> 4], values[byte & NIBBLE]], dim=1).view(torch.int64)[:, 0]
    found = pairs.index_select(0, packed.flatten().int()).view(torch.float32)
    return found.view(*packed.shape[:-1], -1)


def _unit(bits: int) -> tuple[int, int]:
    """The fewest codes that fill whole bytes, and how many bytes."""
    size = math.lcm(bits, 8) // 8
    return size * 8 // bits, size


def _shifts(count: int, bits: int, device: torch.device) -> Tensor:
    return bits * torch.arange(count - 1, -1, -1, dtype=torch.int32, device=device)
