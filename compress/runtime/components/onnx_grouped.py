"""Linear layers of codes in groups in ONNX graphs, as ONNX Runtime's operator MatMulNBits.

Its blocks are the groups. Codes are unsigned, in bytes the lower half first; scales are float32,
zero points codes or float32. It computes in float32. Where columns were scaled for their codes, a
node divides what the layer reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional

from compress.config.errors import ConfigError
from compress.quantizer.components.grouped import REAL, GroupedLinear
from compress.runtime.components.onnx_quantize import CODES, OPERATORS, SCALES, ZERO_POINTS
from compress.runtime.components.onnx_tables import MICROSOFT
from compress.transformer.bit_packing import pack_signed
from compress.transformer.packing import FLOAT32_SLACK, decode_groups, in_groups
from compress.transformer.rounding import check_rounding

if TYPE_CHECKING:
    import onnx

PRODUCT = "MatMulNBits"
SMALLEST_BLOCK = 16  # and blocks are powers of 2


def check_block(group_size: int) -> None:
    """Raises a ConfigError for groups that the operator does not support."""
    if group_size < SMALLEST_BLOCK or group_size & (group_size - 1):
        raise ConfigError(
            f"quantizer.group_size={group_size} is not supported by the onnxruntime runtime; "
            f"supported: powers of 2 from {SMALLEST_BLOCK} on"
        )


def store_codes_(
    graph: onnx.ModelProto, layers: Mapping[str, GroupedLinear], names: Mapping[str, str]
) -> None:
    """Replaces the products with the weights of Linear layers by products with their codes.

    Args:
        graph: with the weights that the codes stand for; changed.
        layers: by name; those whose weight the graph does not read are left out.
        names: by parameter, its initializer.
    """
    found = {names.get(f"{name}.weight"): layer for name, layer in layers.items()}
    coded = {name: layer for name, layer in found.items() if name is not None}
    nodes: list[onnx.NodeProto] = []
    for node in graph.graph.node:
        layer = coded.get(node.input[1]) if node.op_type in OPERATORS else None
        nodes += [node] if layer is None else _product(node, layer)
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    for each in list(graph.graph.initializer):
        if each.name in coded:
            graph.graph.initializer.remove(each)
    for name, layer in coded.items():
        graph.graph.initializer.extend(_stored(name, layer))
    if all(each.domain != MICROSOFT for each in graph.opset_import):
        graph.opset_import.add(domain=MICROSOFT, version=1)
    _check(graph, {f"{name}{CODES}": layer for name, layer in coded.items()})


def code_bits(graph: onnx.ModelProto) -> dict[str, int]:
    """Bits of the codes that products read, by the initializer's name."""
    return {node.input[1]: how["bits"] for node, how in _products(graph)}


def grouped_codes(graph: onnx.ModelProto) -> dict[str, Int[Tensor, "out in"]]:
    """Codes minus the nearest code to their zero points, by the initializer's name."""
    found = {}
    for name, parts in _read(graph):
        zero = in_groups(parts["codes"], parts["size"]) - parts["zero"].round()[..., None]
        whole = zero.flatten(-2)[:, : parts["codes"].shape[1]]
        found[name] = whole.to(torch.int16)
    return found


def _product(node: onnx.NodeProto, layer: GroupedLinear) -> list[onnx.NodeProto]:
    """The nodes in the place of one that multiplies by a weight and may add a bias."""
    from onnx import helper

    (read, weight, *bias), result = node.input, node.output[0]
    made = []
    if layer.columns is not None:
        divided = f"{result}/columns"
        made.append(helper.make_node("Mul", [read, f"{weight}/columns"], [divided], divided))
        read = divided
    parts = [CODES, SCALES] if layer.zero is None else [CODES, SCALES, ZERO_POINTS]
    sizes = {"K": layer.in_features, "N": layer.out_features}
    inputs, output = [read, *(f"{weight}{part}" for part in parts)], f"{result}/product"
    made.append(
        helper.make_node(
            PRODUCT, inputs, [output if bias else result], node.name, domain=MICROSOFT,
            bits=layer.bits, block_size=layer.group_size, **sizes,
        )
    )  # fmt: skip
    if bias:
        made.append(helper.make_node("Add", [output, *bias], [result], f"{node.name}/bias"))
    return made


def _stored(name: str, layer: GroupedLinear) -> Iterator[onnx.TensorProto]:
    """The operator's initializers."""
    from onnx import numpy_helper

    codes, zero, size = layer.stored_codes(), layer.zero_points(), layer.group_size
    blocks = functional.pad(codes, (0, -codes.shape[1] % size)).reshape(len(codes), -1, size)
    parts: dict[str, Tensor] = {CODES: _packed(blocks, layer), SCALES: layer.scale.float()}
    if not isinstance(zero, int):
        parts[ZERO_POINTS] = zero.float() if layer.zeros == REAL else _packed(zero, layer)
    if layer.columns is not None:
        parts["/columns"] = 1 / layer.columns.float()
    for suffix, value in parts.items():
        yield numpy_helper.from_array(value.contiguous().numpy(), f"{name}{suffix}")


def _packed(codes: UInt8[Tensor, "... count"], layer: GroupedLinear) -> UInt8[Tensor, "... bytes"]:
    """Codes in bytes, each row of them by itself."""
    if layer.bits == 8:
        return codes
    even = functional.pad(codes, (0, codes.shape[-1] % 2))
    return pack_signed(even.view(torch.int8)).view(*even.shape[:-1], -1)


def _unpacked(stored: UInt8[Tensor, "... bytes"], bits: int) -> UInt8[Tensor, "... count"]:
    return stored if bits == 8 else torch.stack([stored & 15, stored >> 4], dim=-1).flatten(-2)


def _products(graph: onnx.ModelProto) -> Iterator[tuple[onnx.NodeProto, dict[str, int]]]:
    """The products with codes, and their attributes."""
    for node in graph.graph.node:
        if node.op_type == PRODUCT:
            yield node, {each.name: each.i for each in node.attribute}


def _read(graph: onnx.ModelProto) -> Iterator[tuple[str, dict[str, Any]]]:
    """What each product of a graph computes with, by the name of its codes."""
    from onnx import numpy_helper

    held = {each.name: each for each in graph.graph.initializer}
    for node, how in _products(graph):
        stored = [torch.from_numpy(numpy_helper.to_array(held[n]).copy()) for n in node.input[1:]]
        bits, scale = how["bits"], stored[1]
        zero = torch.full_like(scale, 2 ** (bits - 1))
        if len(stored) > 2:
            given = stored[2]
            zero = given if given.is_floating_point() else _unpacked(given, bits).float()
        yield node.input[1], {
            "codes": _unpacked(stored[0], bits).flatten(1)[:, : how["K"]],
            "scale": scale, "zero": zero[:, : scale.shape[1]],
            "size": how["block_size"],
        }  # fmt: skip


def _check(graph: onnx.ModelProto, layers: Mapping[str, GroupedLinear]) -> None:
    """Checks what the graph computes with against torch's own weights; see `check_rounding`."""
    for name, parts in _read(graph):
        layer = layers[name]
        restored: Float[Tensor, "out in"] = decode_groups(
            parts["codes"], parts["scale"], parts["zero"], parts["size"]
        )
        weight = layer.matrix() * (1.0 if layer.columns is None else layer.columns.float())
        check_rounding(name.removesuffix(CODES), weight, restored, FLOAT32_SLACK * weight.abs())
