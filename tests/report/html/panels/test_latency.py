from __future__ import annotations

from dataclasses import replace

import pytest

from compress.records.schema import FinishedRun
from compress.report.html.panels.latency import MOST, latency
from tests.report.html.panels.drawn import columns, plots, ticks
from tests.report.records import plain, section_of, with_quantiles

TIMED = with_quantiles(plain(), 5.0, baseline_ms=10.0)
NAME = "#0"


def at_128_too(record: FinishedRun) -> FinishedRun:
    """The record with the same times at a second shape."""
    twice = {
        name: replace(metrics, latency=(*metrics.latency, replace(metrics.latency[0], length=128)))
        for name, metrics in (("metrics", record.metrics), ("baseline", record.baseline))
    }
    return replace(record, **twice)  # type: ignore[arg-type]


def test_boxes_and_whiskers_are_quantiles() -> None:
    [plot] = plots(latency(section_of(TIMED)))
    assert ticks(plot.yaxis) == ["teacher", NAME]
    # Quantiles run evenly from 0.9 to 1.1 of the median.
    expected = {"low": 0.91, "first": 0.95, "median": 1.0, "third": 1.05, "high": 1.09}
    for name, share in expected.items():
        assert columns(plot, name)[0] == pytest.approx([10 * share, 5 * share])


def test_a_baseline_of_before_has_no_box() -> None:
    [plot] = plots(latency(section_of(replace(TIMED, baseline=plain().baseline))))
    assert ticks(plot.yaxis) == [NAME]


def test_every_shape_has_a_figure_of_the_models_that_were_timed_at_it() -> None:
    short_, long = plots(latency(section_of(at_128_too(TIMED), TIMED)))
    assert [plot.title.text for plot in (short_, long)] == ["1 × 32 tokens", "1 × 128 tokens"]
    assert ticks(short_.yaxis) == ["teacher", NAME, NAME.replace("0", "1", 1)]
    assert ticks(long.yaxis) == ["teacher", NAME]


def test_of_a_long_front_some_models_are_drawn_and_it_is_said() -> None:
    front = [with_quantiles(plain(0.6 + i / 100, 100 + i, 2.0), 5.0) for i in range(2 * MOST)]
    panel = latency(section_of(*front, with_quantiles(plain(0.5, 999, 1.0), 5.0)))
    assert len(ticks(plots(panel)[0].yaxis)) == MOST
    assert f"{MOST - 1} of {2 * MOST} models of the front are shown." in panel.words
