"""Predicted bytes against those of real exports that no fit has seen, in every format."""

from __future__ import annotations

import contextlib
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from compress.costs.family import Family
from compress.costs.lab import open_lab
from compress.costs.measuring import make_table
from compress.costs.samples import Sample
from compress.costs.space import Costs, Sizes, plan
from tests.conftest import StillPair
from tests.costs.made import run_of, space
from tests.slow import slow_but

SPACE = space(
    layers=(1, 2, 3), hidden=(None, 24), heads=(None, 1), neurons=(None, 48),
    embedding=(None, 16), vocabulary=(None, 300),
)  # fmt: skip
UNSEEN = Sizes(2, hidden=24, heads=1, neurons=48, embedding=16, vocabulary=300)
LARGEST_ERROR = 0.005  # of tiny models, of which the graph is a large part
PAIRS = {
    "cpu": (
        *("none", "bf16", "fp16", "int8_dynamic embeddings=int8", "int8_weight_only"),
        *("int4_weight_only embeddings=int4", "nf4"),
    ),
    "cpu_onnxruntime": ("none", "int8_dynamic embeddings=int8", "int8_static embeddings=int8"),
    "cpu_openvino": (
        *("none", "bf16", "int8_weight_only embeddings=int8", "int8_static embeddings=int8"),
        "int4_weight_only embeddings=int4",
    ),
}
EVERY = [(device, words) for device, formats in PAIRS.items() for words in formats]
QUICK = [("cpu", "int8_dynamic embeddings=int8")]


@pytest.mark.parametrize(("device", "words"), slow_but(QUICK, EVERY))
def test_bytes_are_those_of_an_export(
    device: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(device.removeprefix("cpu_") if "_" in device else "torch")
    monkeypatch.setattr(
        "compress.measure.latency.open_pair", lambda *_: contextlib.nullcontext(StillPair())
    )
    choice, *settings = words.split()
    format_ = [f"quantizer={choice}", *(f"quantizer.{each}" for each in settings)]
    run = run_of(tmp_path / "cache", f"device={device}", *format_, "task.calibration_samples=4")
    runs, how = {"pair": run}, Costs(minutes=1e-9, rounds=1, space=SPACE)
    corners = SPACE.corners()
    drawn = [sizes for sizes in islice(plan(SPACE, 0), 14) if sizes != UNSEEN]
    monkeypatch.setattr(type(SPACE), "corners", lambda _: drawn)
    table = make_table(runs, how)
    monkeypatch.undo()
    assert table.refused == {}
    [pair] = table.pairs.values()
    assert len(pair.samples.found) > len(corners)
    predicted = table.predict(UNSEEN, run.device.runtime, run.quantizer)
    assert predicted.size_bytes == pytest.approx(exported(run, UNSEEN), rel=LARGEST_ERROR)
    assert pair.bytes.median_error < LARGEST_ERROR


def exported(run: Any, sizes: Sizes) -> int:
    """The bytes of a shape's real files."""
    with (
        pytest.MonkeyPatch.context() as patch,
        open_lab(run, Family(run, SPACE)) as lab,
    ):
        patch.setattr(
            "compress.measure.latency.open_pair", lambda *_: contextlib.nullcontext(StillPair())
        )
        [(_, sample)] = lab.measure(sizes, {"pair": run}, 1)
    assert isinstance(sample, Sample)
    return sample.size_bytes
