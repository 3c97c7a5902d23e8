"""The probe's table on narrow screens: no figure is cut off."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from compress.records.schema import Comparison, FinishedRun
from compress.report.probe import Probe, show_probe
from tests.records.test_schema import make_record
from tests.replay.test_probe import result

LONGEST = "cpu_onnxruntime/int8_weight_only"


def long_result(*, difference: bool) -> FinishedRun:
    record = result("cpu", 1234.56, 10.25, 0.8123)
    floor = None if difference else 11.0
    speeds = tuple(replace(each, floor=floor) for each in record.speedup)
    metrics = replace(make_record(size=123_456_789).metrics, latency=record.metrics.latency)  # type: ignore[union-attr]
    comparison = Comparison(0.7, 30, 2, 1e-6)
    return replace(record, speedup=speeds, metrics=metrics, comparison=comparison)


@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize(
    ("difference", "ratio"),
    [
        (True, ["10.25", "(10.15–10.35)"]),
        (False, ["no", "measurable", "difference", "(interval", "10.15–10.35)"]),
    ],
)
def test_no_figure_is_cut_off(width: int, difference: bool, ratio: list[str]) -> None:
    found = Probe({LONGEST: long_result(difference=difference)}, {}, (1, 32))
    out = io.StringIO()
    show_probe(found, Console(file=out, width=width))
    table = out.getvalue().partition("Shown to")[0]
    figures = ["0.9000", "-1.0", "<", "0.001", "123.5", "1234.56", *ratio]
    assert set(figures) <= set(table.split()), table
    assert set(LONGEST.replace("/", "/ ").split()) <= set(table.split())
    assert "1×32" in table
    assert max(map(len, table.splitlines())) <= width
    assert "…" not in table
