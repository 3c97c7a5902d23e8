from __future__ import annotations

import math

import pytest
from bokeh.models import LogScale

from compress.records.schema import FinishedRun
from compress.report.html.panels.effects import MOST, effects_panel, settings_of
from tests.records.test_schema import evaluated_by
from tests.report.html.panels.drawn import columns, plots, ticks
from tests.report.records import plain, section_of


def run(
    pruner: str, quantizer: str, accuracy: float, size: int, ratio: float, *overrides: str
) -> FinishedRun:
    choices = {"teacher": "t", "pruner": pruner, "quantizer": quantizer, "task": "rt"}
    config = {"pruner": {"sparsity": 0.5}, "quantizer": {}}
    return plain(accuracy, size, ratio, choices=choices, overrides=overrides, config=config)


GRID = (
    run("none", "none", 0.90, 1000, 1.0),
    run("wanda", "none", 0.80, 1000, 1.0),
    run("none", "int8", 0.88, 250, 2.0),
    run("wanda", "int8", 0.76, 500, 4.0),
)


def test_means_and_intervals_of_a_grid() -> None:
    panel = effects_panel(section_of(*GRID))
    accuracy, size, speed = plots(panel)
    assert ticks(accuracy.yaxis) == [
        "pruner: wanda vs none (n = 2)", "quantizer: int8 vs none (n = 2)",
    ]  # fmt: skip
    means, low = columns(accuracy, "mean", "low")
    assert means == pytest.approx([-0.11, -0.03])
    assert low == pytest.approx([-0.11 - 12.70620 * 0.01, -0.03 - 12.70620 * 0.01], rel=1e-4)
    # Wanda changes sizes by 1 and by 2, and int8 by 1/4 and by 1/2: geometric means.
    assert columns(size, "mean")[0] == pytest.approx([math.sqrt(2), math.sqrt(1 / 8)])
    assert columns(speed, "mean")[0] == pytest.approx([math.sqrt(2), math.sqrt(8)])
    assert "Among 4 runs there are 4 such pairs." in panel.words


def test_nothing_is_drawn_of_runs_that_differ_in_more_than_one_choice() -> None:
    assert effects_panel(section_of(GRID[0], GRID[3])) is None


def test_a_choice_that_changes_nothing_has_an_axis_too() -> None:
    found = plots(effects_panel(section_of(GRID[0], run("wanda", "none", 0.90, 1000, 1.0))))
    for plot, nothing in zip(found, (0, 1, 1), strict=True):
        assert plot.x_range.start < nothing < plot.x_range.end


def test_settings_come_from_the_config_where_a_run_does_not_override_them() -> None:
    overrides = ("pruner.sparsity=0.5", "quantizer.embeddings=int8", "hydra.verbose=true")
    found = settings_of([run("wanda", "none", 0.9, 1, 1, *overrides), GRID[1]])
    assert found[0] == found[1]
    assert found[0]["pruner.sparsity"] == "0.5"
    # A setting that a choice lacks is left out.
    assert found[0].keys() == {*GRID[1].choices, "seed", "pruner.sparsity"}


def test_seeds_are_matched_and_have_no_row() -> None:
    again = [plain(seed=seed, choices=each.choices) for seed in (1, 2) for each in GRID[:2]]
    chart, *_ = plots(effects_panel(section_of(*again)))
    assert ticks(chart.yaxis) == ["pruner: wanda vs none (n = 2)"]


def test_of_many_rows_those_with_the_most_pairs_are_drawn() -> None:
    many = [run(f"p{i:02}", "none", 0.8, 100, 1.0) for i in range(MOST + 5)]
    panel = effects_panel(section_of(*many, *GRID))
    rows = ticks(plots(panel)[0].yaxis)
    assert len(rows) == MOST
    assert "pruner: wanda vs none (n = 2)" in rows
    assert f"The {MOST} of {MOST + 7} rows with the most pairs are shown." in panel.words


@pytest.mark.parametrize(
    ("metric", "none", "wanda", "title", "mean", "shown"),
    [
        ("spearman", 0.9, 0.8, "change of Spearman correlation", -0.1, "linear"),
        ("perplexity", 20.0, 25.0, "perplexity, as a factor", 1.25, "linear"),
        ("perplexity", 20.0, 200.0, "perplexity, as a factor", 10.0, "log"),
    ],
)
def test_another_score_changes_in_its_own_way(
    metric: str, none: float, wanda: float, title: str, mean: float, shown: str
) -> None:
    runs = [
        evaluated_by(metric, value, 1.0, choices=each.choices, config=each.config, overrides=())
        for value, each in ((none, GRID[0]), (wanda, GRID[1]))
    ]
    panel = effects_panel(section_of(*runs))
    chart = plots(panel)[0]
    assert chart.xaxis[0].axis_label == title
    assert columns(chart, "mean")[0] == pytest.approx([mean])
    assert isinstance(chart.x_scale, LogScale) == (shown == "log")
    assert ("Of perplexity less is better." in panel.words) == (metric == "perplexity")
