"""Integer weights in OpenVINO graphs are held against the float weights they were made of."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from compress.config.errors import UserError
from compress.interfaces import CompressedModel
from compress.runtime.components import openvino_rounding
from compress.runtime.components.int4 import check_sizes
from compress.runtime.components.openvino_formats import FORMATS
from compress.runtime.components.openvino_graph import OpenVinoSource
from compress.runtime.components.openvino_rounding import (
    LARGEST_WEIGHT,
    int8_bound,
    static_bound,
)
from tests.runtime.openvino_models import Contexts, Teachers, quantizer_of, with_noise, write
from tests.slow import slow

pytest.importorskip("openvino")
pytest.importorskip("nncf")

QUICK = [
    ("int8_static", "embeddings=int4"),
    ("rtn", "group_size=8", "symmetric=false", "embeddings=int8"),
]
OTHERS = [
    ("int8_static", "embeddings=int8"),
    ("int8_static", "smooth_quant=none"),
    ("int8_weight_only", "embeddings=int4"),
    ("bf16",),
]


def uneven(model: CompressedModel) -> CompressedModel:
    """With channels a thousand times smaller than others, and one of zeros."""
    made = with_noise(model)
    with torch.no_grad():
        for name, parameter in made.module.named_parameters():
            if parameter.dim() == 2:
                parameter[:2] *= 1e-3
                parameter[-1] = 0
            if "query" in name:
                parameter *= 1e-5
    return made


@pytest.mark.parametrize("choice", [*QUICK, *slow((each,) for each in OTHERS)], ids=" ".join)
def test_every_format_keeps_its_bound_and_comes_near_it(
    choice: tuple[str, ...],
    shallow: Teachers,
    context: Contexts,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    ratios: dict[str, float] = {}

    def record(name: str, weight: Tensor, restored: Tensor, bound: Tensor) -> None:
        check(name, weight, restored, bound)
        ratios[name] = float(((restored - weight).abs() / bound).nan_to_num().max())

    check = openvino_rounding.check_rounding
    monkeypatch.setattr(openvino_rounding, "check_rounding", record)
    model = uneven(shallow("bert"))
    write(model, quantizer_of(*choice), context(model), tmp_path)
    assert len(ratios) >= 8
    assert {name for name in ratios if "dense" in name or "query" in name}
    assert max(ratios.values()) > 0.85, "the bound is no larger than it has to be"


@pytest.mark.parametrize("choice", [QUICK[0], *slow((each,) for each in QUICK[1:])], ids=" ".join)
def test_weights_that_stand_for_something_else_are_found(
    choice: tuple[str, ...], shallow: Teachers, context: Contexts, tmp_path: Path
) -> None:
    """The graph is that of one model, what it is held against another."""
    model = with_noise(shallow("bert"))
    ctx, quantizer = context(model), quantizer_of(*choice)
    format_ = FORMATS[type(quantizer)]
    right = format_.convert

    def swapped(self: Any, source: OpenVinoSource) -> Any:
        with torch.no_grad():
            weight = source.model.module.classifier.weight
            weight[:] = weight.flip(0)
        return right(self, source)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(format_, "convert", swapped)
        with pytest.raises(AssertionError, match=r"^classifier\S*: the quantized weights are off"):
            write(dataclasses.replace(model), quantizer, ctx, tmp_path / "model")


def test_bounds_by_hand() -> None:
    # 128 steps to the largest: the far end lacks one. float16 adds 2^-11 of a scale per code.
    weight = torch.tensor([[-1.0, 1.0, 0.25, 0.998]])
    step, extra = 1 / 128, 2**-11
    expected = [step, step, step / 2, 0.998 - 127 * step]
    found = int8_bound(weight)[0].tolist()
    assert found == pytest.approx([each + extra for each in expected], rel=1e-3)
    # Channels smaller than a hundredth of the largest share its steps.
    found = static_bound(torch.tensor([[2.54, 0.0], [0.001, 0.0]])).flatten().tolist()
    assert found == pytest.approx([0.0101, 0.000101], rel=1e-3)


def test_weights_too_large_for_a_scale_of_16_bits_are_refused() -> None:
    check_sizes({"fine": torch.tensor([[LARGEST_WEIGHT]])}, "openvino", LARGEST_WEIGHT)
    with pytest.raises(UserError, match=r"float16 in the openvino runtime: dense has .* 1e\+30"):
        check_sizes({"dense": torch.tensor([[0.0, 1e30]])}, "openvino", LARGEST_WEIGHT)
