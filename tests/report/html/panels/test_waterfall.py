from __future__ import annotations

from dataclasses import replace

import pytest

from compress.report.html.panels.waterfall import MOST, levels, waterfall
from tests.records.test_schema import evaluated_by
from tests.report.html.panels.drawn import plots, texts, ticks
from tests.report.records import plain, section_of, with_stages


def test_levels_run_from_the_teacher_to_what_was_saved() -> None:
    record = with_stages(plain(0.8, 500, 4.0), "student", "pruner")
    found = levels(record, baseline_ms=12.0)
    assert [each.stage for each in found] == ["teacher", "student", "pruner", "saved"]
    assert [each.score[0] for each in found] == pytest.approx([0.91, 0.9, 0.89, 0.8])
    assert [each.megabytes for each in found] == pytest.approx([2e-3, 1.8e-3, 1.6e-3, 5e-4])
    assert [each.latency_ms[0] for each in found] == pytest.approx([12, 10, 12 / 1.4, 3])
    assert found[0].latency_ms == (12, 12, 12), "the teacher is as fast as itself"
    assert found[-1].latency_ms == pytest.approx((3, 12 / 4.4, 12 / 3.6))


def test_the_last_level_has_its_format_for_a_name() -> None:
    record = with_stages(plain(), "pruner")
    record = replace(record, choices={**record.choices, "quantizer": "int8_dynamic"})
    assert levels(record, 1.0)[-1].stage == "int8_dynamic"


def test_three_charts_a_run_with_the_changes_on_them() -> None:
    section = section_of(with_stages(plain(0.8, 500, 4.0), "student"))
    accuracy, size, latency = found = plots(waterfall(section))
    assert texts(accuracy) == ["-0.010", "-0.100"]
    assert texts(size) == ["-10%", "-72%"]
    assert texts(latency) == ["-17%", "-70%"]
    assert ticks(latency.xaxis) == ["teacher", "student", "saved"]
    assert accuracy.title.text == "#0 wanda sparsity=0.5"
    labels = [plot.yaxis[0].axis_label for plot in found]
    assert labels == ["accuracy", "size (MB)", "latency (ms)"]


def test_of_many_runs_the_front_is_drawn_and_it_is_said() -> None:
    dominated = [with_stages(plain(0.5, 1500, 1.0), "student") for _ in range(MOST + 3)]
    best = with_stages(plain(0.95, 100, 9.0), "student")
    panel = waterfall(section_of(*dominated, best, plain(0.99, 50, 10.0)))
    found = plots(panel)
    assert len(found) == 3 * MOST
    assert found[0].title.text.startswith(f"#{MOST + 3} "), "the front's comes first"
    assert f"{MOST} of {MOST + 4} runs are shown" in panel.words


def test_changes_of_perplexity_are_shares() -> None:
    record = evaluated_by("perplexity", 22.0, 20.0)
    between = evaluated_by("perplexity", 21.0, 20.0)
    stage_metrics = with_stages(plain(), "student").stage_metrics[0]
    record = replace(record, stage_metrics=(replace(stage_metrics, metrics=between.metrics),))
    score, *_ = plots(waterfall(section_of(record)))
    assert texts(score) == ["+5.0%", "+4.8%"]
    assert score.yaxis[0].axis_label == "perplexity (lower is better)"
