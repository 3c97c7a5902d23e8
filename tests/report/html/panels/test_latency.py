from __future__ import annotations

from dataclasses import replace

import pytest

from compress.report.html.panels.latency import MOST, latency
from tests.report.html.panels.drawn import columns, plots, ticks
from tests.report.records import plain, section_of, with_quantiles


def test_boxes_and_whiskers_are_quantiles() -> None:
    panel = latency(section_of(with_quantiles(plain(), 5.0, baseline_ms=10.0)))
    assert panel is not None
    [plot] = plots(panel)
    assert ticks(plot.yaxis) == ["teacher", "#0 wanda sparsity=0.5"]
    # Quantiles run evenly from 0.9 to 1.1 of the median.
    expected = {"low": 0.91, "first": 0.95, "median": 1.0, "third": 1.05, "high": 1.09}
    for name, share in expected.items():
        assert columns(plot, name)[0] == pytest.approx([10 * share, 5 * share])
    assert plot.title.text == "1 × 32 tokens"


def test_records_of_before_have_no_boxes() -> None:
    assert latency(section_of(plain())) is None


def test_a_baseline_of_before_has_none_either() -> None:
    record = with_quantiles(plain(), 5.0)
    record = replace(record, baseline=plain().baseline)
    panel = latency(section_of(record))
    assert panel is not None
    assert ticks(plots(panel)[0].yaxis) == ["#0 wanda sparsity=0.5"]


def test_every_shape_has_a_figure() -> None:
    record = with_quantiles(plain(), 5.0)
    twice = {
        name: replace(metrics, latency=(*metrics.latency, replace(metrics.latency[0], length=128)))
        for name, metrics in (("metrics", record.metrics), ("baseline", record.baseline))
    }
    panel = latency(section_of(replace(record, **twice)))  # type: ignore[arg-type]
    assert panel is not None
    assert [plot.title.text for plot in plots(panel)] == ["1 × 32 tokens", "1 × 128 tokens"]


def test_of_a_long_front_some_models_are_drawn_and_it_is_said() -> None:
    front = [with_quantiles(plain(0.6 + i / 100, 100 + i, 2.0), 5.0) for i in range(2 * MOST)]
    panel = latency(section_of(*front, with_quantiles(plain(0.5, 999, 1.0), 5.0)))
    assert panel is not None
    assert len(ticks(plots(panel)[0].yaxis)) == MOST
    assert f"Drawn are {MOST - 1} of {2 * MOST} models of the front." in panel.words
