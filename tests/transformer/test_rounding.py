"""Every format stands for the weights that it was made of, whatever their shape and size."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from compress.config.errors import UserError
from compress.interfaces import CompressedModel
from compress.quantizer.components.grouped import GroupedLinear
from compress.quantizer.components.linears import LinearFormat
from compress.quantizer.components.torch_format import TorchFormat
from compress.quantizer.int8_dynamic import Int8DynamicLinear
from compress.quantizer.int8_weight_only import Int8WeightOnlyLinear
from compress.quantizer.nf4 import Nf4Linear
from compress.transformer.packing import Grid
from compress.transformer.quantized_embedding import Int4Embedding, Int8Embedding
from compress.transformer.rounding import cast_, check_quantized, check_rounding, half_ulp
from compress.transformer.stored_modules import QuantizedModule
from tests.configs import settings_of

# By name: what makes a module of a matrix.
FORMATS: dict[str, Callable[[Tensor], QuantizedModule]] = {
    "int8_dynamic": lambda w: Int8DynamicLinear.of(linear_of(w)),
    "int8_weight_only": lambda w: Int8WeightOnlyLinear.of(linear_of(w)),
    "int4 symmetric": lambda w: GroupedLinear.rounded(linear_of(w), Grid(4, 16, True)),
    "int4 asymmetric": lambda w: GroupedLinear.rounded(linear_of(w), Grid(4, 16, False)),
    "int4 in groups of 3": lambda w: GroupedLinear.rounded(linear_of(w), Grid(4, 3, False)),
    "nf4": lambda w: Nf4Linear.of(linear_of(w), False),
    "nf4 twice": lambda w: Nf4Linear.of(linear_of(w), True),
    "int8 table": lambda w: Int8Embedding.of(nn.Embedding.from_pretrained(w)),
    "int4 table": lambda w: Int4Embedding.of(nn.Embedding.from_pretrained(w)),
}
# Of the largest weight of a row, the largest error: half of 1/127, 1/7, 1/15 of twice as much, and
# half of the gap from -1 to -0.696; a little more where scales are rounded. Symmetric int4 may cut
# the largest off, at seven codes of a scale that is 14 % shorter than an eighth.
CUT = 1 - 7 / 8 * 0.86 * (1 - 2**-8)
SHARES = {
    "int8": 0.5 / 127, "int4 symmetric": CUT, "int4 table": CUT, "int4": 0.5 / 7 * 1.15,
    "nf4": 0.153 + 0.015,
}  # fmt: skip
SHAPES = [(1, 1), (1, 7), (5, 1), (3, 96), (5, 288), (2, 65), (8, 32), (130, 200), (2, 15)]
SIZES = [1.0, 1e30, 1e38, 1e-30, 1e-37, 1e-39, 1e-44, 0.0]


def linear_of(weight: Tensor) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    made.weight = nn.Parameter(weight, requires_grad=False)
    return made


def weights(shape: tuple[int, int], size: float) -> Tensor:
    """Between -size and size, which is met; and one row or column of zeros."""
    weight = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    weight[0, 0] = -1
    if shape[1] > 1:
        weight[:, -1] = 0
    return weight * size


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", FORMATS)
def test_a_format_stands_for_its_weights(name: str, size: float) -> None:
    share = next(share for kind, share in SHARES.items() if name.startswith(kind))
    for shape in SHAPES:
        weight = weights(shape, size)
        made = FORMATS[name](weight)
        restored = made.matrix()
        assert restored.shape == weight.shape == made.codes().shape
        # Below 1e-37 scales end: what is smaller may become zero.
        limit = share * weight.double().abs().max() * (1 + 1e-5) + torch.finfo(torch.float32).tiny
        assert ((restored.double() - weight.double()).abs() <= limit).all(), shape
        assert (made.codes()[weight == 0] == 0).all()
        assert (restored[weight == 0] == 0).all()
        check_quantized(name, made, weight)
        bound = made.error_bound(weight).expand_as(weight).double()
        assert (bound <= 1.01 * limit).all(), "the bound says no more than the formula"


@pytest.mark.parametrize("name", FORMATS)
def test_the_bound_is_met_by_evenly_drawn_weights(name: str) -> None:
    weight = weights((130, 200), 1.0)
    made = FORMATS[name](weight)
    ratio = (made.matrix() - weight).abs() / made.error_bound(weight)
    assert 0.85 < ratio.max() <= 1


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("what", ["a scale too large", "codes of another row", "not a number"])
def test_a_format_that_stands_for_something_else_is_found(what: str, name: str) -> None:
    weight = torch.randn(64, 192, generator=torch.Generator().manual_seed(0))
    made = FORMATS[name](weight)
    right = made.matrix()
    wrong = {
        "a scale too large": right * 1.2,
        "codes of another row": right.roll(1, dims=0),
        "not a number": torch.where(right == right.max(), torch.nan, right),
    }[what]
    check_rounding("fine", weight, right, made.error_bound(weight))
    with pytest.raises(AssertionError, match=r"^layer\.3: .* off by up to \S+ times what rounding"):
        check_rounding("layer.3", weight, wrong, made.error_bound(weight))


@pytest.mark.parametrize("name", ["int8_dynamic", "int8_weight_only", "rtn", "nf4"])
@pytest.mark.parametrize("tables", ["none", "int8"])
def test_the_check_runs_at_export_and_names_the_layer(
    name: str, tables: str, teacher: CompressedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What bitsandbytes did: the scale of another block."""
    quantizer = settings_of("quantizer", name, f"quantizer.embeddings={tables}")
    assert isinstance(quantizer, LinearFormat)
    kind = type(quantizer.quantized(nn.Linear(4, 4))) if tables == "none" else Int8Embedding
    right = kind.matrix
    monkeypatch.setattr(kind, "matrix", lambda self: right(self).roll(1, dims=0))
    layer = "bert.encoder.layer.0.attention.self.query"
    where = layer if tables == "none" else "bert.embeddings.word_embeddings"
    with pytest.raises(AssertionError, match=f"^{where}: the quantized weights are off by"):
        quantizer.quantize_torch_(copy.deepcopy(teacher.module))


def test_gpt2s_layers_are_held_against_their_transposed_weights() -> None:
    torch.manual_seed(0)
    conv = Conv1D(6, 4)
    made = Int8WeightOnlyLinear.of(conv)
    check_quantized("conv", made, conv.weight.T)
    with pytest.raises((AssertionError, RuntimeError)):
        check_quantized("conv", made, conv.weight)


@pytest.mark.parametrize(("dtype", "bits"), [(torch.float16, 11), (torch.bfloat16, 8)])
def test_half_an_ulp_by_hand(dtype: torch.dtype, bits: int) -> None:
    """A float of p significant bits is off by 2^-p of itself, and by no less near zero."""
    tiny = torch.finfo(dtype).tiny
    weight = torch.tensor([1.0, -3.0, 0.0, tiny / 2])
    share = 2.0**-bits
    assert half_ulp(weight, dtype).tolist() == [share, 3 * share, tiny * share, tiny * share]
    drawn = torch.randn(10_000, generator=torch.Generator().manual_seed(0))
    for size in (1.0, 1e4, 1e-4, 1e-6, 1e-9):
        weight = drawn * size
        error = (weight.to(dtype).float() - weight).abs()
        assert (error <= half_ulp(weight, dtype)).all()
        assert (error > 0.9 * half_ulp(weight, dtype)).any() or size < 1e-8


@pytest.mark.parametrize(
    ("name", "largest", "other"), [("fp16", 70_000.0, "bf16"), ("bf16", 3.4e38, "none")]
)
def test_a_weight_that_would_become_infinite_is_refused(
    name: str, largest: float, other: str, teacher: CompressedModel
) -> None:
    module = copy.deepcopy(teacher.module)
    with torch.no_grad():
        module.classifier.weight[0, 0] = largest
    quantizer = settings_of("quantizer", name)
    assert isinstance(quantizer, TorchFormat)
    with pytest.raises(UserError, match=rf"{name}: classifier.weight has .* quantizer={other}$"):
        quantizer.quantize_torch_(module)


def test_a_cast_is_checked_too(teacher: CompressedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    module = copy.deepcopy(teacher.module)
    monkeypatch.setattr(type(module), "to", lambda self, dtype: self.half().bfloat16())
    with torch.no_grad():
        module.classifier.weight[0, 0] = 1e-9  # float16 has no such number
    with pytest.raises(AssertionError, match="the quantized weights are off"):
        cast_(module, "bf16", torch.bfloat16, "none")
