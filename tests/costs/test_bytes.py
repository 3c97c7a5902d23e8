"""Predicted bytes against those of real exports that no fit has seen, in every format."""

from __future__ import annotations

import contextlib
from itertools import islice
from pathlib import Path

import pytest

from compress.costs.lab import open_lab
from compress.costs.measuring import make_table
from compress.costs.samples import Sample
from compress.costs.space import Costs, Sizes, plan
from tests.conftest import StillPair
from tests.costs.made import run_of, space
from tests.slow import slow

SPACE = space(
    layers=(1, 2, 3), hidden=(None, 24), heads=(None, 1), neurons=(None, 48),
    embedding=(None, 16), vocabulary=(None, 300),
)  # fmt: skip
UNSEEN = Sizes(2, hidden=24, heads=1, neurons=48, embedding=16, vocabulary=300)
SHAPES = 14
LARGEST_ERROR = 0.005  # of tiny models, of which the graph is a large part
PAIRS = {
    "cpu": (
        *("none", "bf16", "fp16", "int8_dynamic embeddings=int8", "int8_weight_only"),
        *("rtn embeddings=int4", "nf4"),
    ),
    "cpu_onnxruntime": ("none", "int8_dynamic embeddings=int8", "int8_static embeddings=int8"),
    "cpu_openvino": (
        *("none", "bf16", "int8_weight_only embeddings=int8", "int8_static embeddings=int8"),
        "rtn embeddings=int4",
    ),
}


@pytest.fixture(autouse=True)
def _still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "compress.measure.latency.open_pair", lambda *_: contextlib.nullcontext(StillPair())
    )


@pytest.mark.parametrize(
    ("device", "formats"),
    [("cpu", PAIRS["cpu"][-2:]), *slow(PAIRS.items())],
)
def test_bytes_are_those_of_an_export(
    device: str, formats: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All formats at once: they share the export of each shape."""
    pytest.importorskip(device.removeprefix("cpu_") if "_" in device else "torch")
    runs = {}
    for words in formats:
        choice, *settings = words.split()
        format_ = [f"quantizer={choice}", *(f"quantizer.{each}" for each in settings)]
        rows = "task.calibration_samples=4"
        runs[words] = run_of(tmp_path / "cache", f"device={device}", *format_, rows)
    drawn = [sizes for sizes in islice(plan(SPACE, 0), SHAPES) if sizes != UNSEEN]
    assert len(drawn) > len(SPACE.corners())
    monkeypatch.setattr(type(SPACE), "corners", lambda _: drawn)
    table = make_table(runs, Costs(minutes=1e-9, rounds=1, space=SPACE))
    assert table.refused == {}
    first = next(iter(runs.values()))
    with open_lab(first, table.family) as lab:
        real = dict(lab.measure(UNSEEN, runs, 1))
    for name, run in runs.items():
        sample, pair = real[name], table.pairs[name]
        assert isinstance(sample, Sample)
        predicted = table.predict(UNSEEN, run.device.runtime, run.quantizer)
        assert predicted.size_bytes == pytest.approx(sample.size_bytes, rel=LARGEST_ERROR), name
        assert pair.bytes.median_error < LARGEST_ERROR
