from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from bokeh.models import ColorBar
from bokeh.palettes import Cividis256

from compress.records.schema import FinishedRun
from compress.records.scores import SCORES
from compress.report.html.panel import Panel
from compress.report.html.panels.coordinates import MOST, NOT_SET, setting_axis
from compress.report.html.panels.searches import search_panels
from compress.report.sections import Section
from tests.records.test_schema import as_failed
from tests.report.html.panels.drawn import columns, legend, plots, texts, ticks
from tests.search.records import record_of
from tests.search.test_past import lay, trial


def drawn(folder: Path, **records: FinishedRun) -> dict[str, Panel]:
    """The panels of a search, by title."""
    section = Section("rt", "cpu X", "cpu", tuple(lay(folder, **records)))
    return {panel.title: panel for panel in search_panels(section)}


def finished(count: int) -> dict[str, FinishedRun]:
    return {
        f"t{i}": trial(0.4 + i / 100, 90 - i, f"pruner={'wanda' if i % 2 else 'none'}", f"a={i}")
        for i in range(count)
    }


def test_a_search_has_a_panel_for_each_question(tmp_path: Path) -> None:
    failed = as_failed(trial(0.1, 1), "no memory")
    found = drawn(tmp_path, **finished(12), t12=failed)
    assert list(found) == [
        "How the search mine went", "All trials", "Importance of the settings",
        "Failed and infeasible trials",
    ]  # fmt: skip
    counts, volumes = columns(plots(found["How the search mine went"])[0], "count", "volume")
    assert counts == list(range(1, 13))
    assert volumes == sorted(volumes)
    assert volumes[0] == pytest.approx(0.5 * 0.1)  # half the accuracy, a tenth of the bytes saved
    decide = plots(found["Importance of the settings"])[0]
    assert legend(decide) == ["accuracy", "size_bytes"]
    assert set(ticks(decide.yaxis)) == {"pruner", "a"}
    [words] = columns(plots(found["Failed and infeasible trials"])[0], "words")
    assert words == ["1 × failed: no memory"]


def test_lines_cross_every_axis_and_the_best_are_on_top(tmp_path: Path) -> None:
    panel = drawn(tmp_path, **finished(3), t3=trial(0.1, 10, "pruner=none", "a=3"))["All trials"]
    [plot] = plots(panel)
    numbers, lines, alpha = columns(plot, "trial", "ys", "alpha")
    assert numbers == [3, 0, 1, 2]
    assert alpha[0] < alpha[1] == alpha[2]
    # Of a, accuracy and size: the least accurate trial has the largest a and is the smallest.
    assert [lines[0][i] for i in (1, 2, 3)] == [1.0, 0.0, 0.0]
    assert lines[-1][2] == 1.0
    assert {"pruner", "a", "accuracy", "size\n(MB)"} <= set(texts(plot))


def test_what_is_not_drawn_is_said(tmp_path: Path) -> None:
    found = drawn(tmp_path, **finished(9))
    assert "Importance of the settings" not in found
    assert "is not shown: 9 trials are too few, 10 are needed." in found["All trials"].words
    assert "Failed and infeasible trials" not in found


def test_of_many_trials_the_most_accurate_are_drawn(tmp_path: Path) -> None:
    records = {f"t{i}": trial(0.4 + i / 1e4, 90, f"a={i}") for i in range(MOST + 1)}
    # Written ones would take seconds.
    runs = tuple((tmp_path / name[1:], record) for name, record in records.items())
    (tmp_path / "front.json").write_text("{}")
    [panel] = [p for p in search_panels(Section("rt", "x", "cpu", runs)) if p.title == "All trials"]
    assert columns(plots(panel)[0], "trial") == [list(range(1, MOST + 1))]
    assert f"The {MOST} most accurate of {MOST + 1} trials are shown." in panel.words


@pytest.mark.parametrize(
    ("written", "places", "marks"),
    [
        pytest.param(
            ["2", "4", "3", None],
            [0.0, 1.0, 0.5, NOT_SET],
            [(0.0, "2"), (0.5, "3"), (1.0, "4"), (NOT_SET, "not set")],
            id="few numbers are all named",
        ),
        pytest.param(
            [str(i) for i in range(9)],
            [i / 8 for i in range(9)],
            [(0.0, "0"), (0.25, "2"), (0.5, "4"), (0.75, "6"), (1.0, "8")],
            id="of many five marks",
        ),
        pytest.param(
            ["0.001", "0.1", "0.01"],
            [0.0, 1.0, 0.5],
            [(0.0, "0.001"), (0.5, "0.01"), (1.0, "0.1")],
            id="a wide range is logarithmic",
        ),
        pytest.param(
            ["none", "wanda", "heads"],
            [0.5 - 0.05, 1.0, 0.0 + 0.05],
            [(0.0, "heads"), (0.5, "none"), (1.0, "wanda")],
            id="words are spread, and lines of one word lie apart",
        ),
    ],
)
def test_axes_of_settings(
    written: list[str | None], places: list[float], marks: list[tuple[float, str]]
) -> None:
    axis = setting_axis("pruner.x", written)
    assert axis.title == "pruner.\nx"
    assert axis.places == pytest.approx(places)
    assert [label for _, label in axis.ticks] == [label for _, label in marks]
    assert [place for place, _ in axis.ticks] == pytest.approx([place for place, _ in marks])


@pytest.mark.parametrize(
    ("metric", "way", "values", "order", "dark"),
    [
        ("spearman", "maximize", (0.5, 0.9), [0, 1], "dark is high in Spearman correlation"),
        ("perplexity", "minimize", (20.0, 40.0), [1, 0], "dark is low in perplexity"),
    ],
)
def test_lines_of_another_score_are_dark_where_it_is_good(
    metric: str, way: str, values: tuple[float, float], order: list[int], dark: str, tmp_path: Path
) -> None:
    trials = {}
    for number, value in enumerate(values):
        found = trial(value, 50, f"a={number}", objectives={metric: way}, constraints={})
        evaluated = record_of(validation=value, metric=metric, baseline=1.0)
        trials[f"t{number}"] = replace(
            found, metrics=evaluated.metrics, baseline=evaluated.baseline
        )
    panel = drawn(tmp_path, **trials)["All trials"]
    assert dark in panel.words
    [plot] = plots(panel)
    numbers, colors = columns(plot, "trial", "color")
    assert (numbers, sorted(colors)) == (order, sorted(values)), "the best is on top"
    [bar] = plot.select(ColorBar)
    ends = [bar.color_mapper.palette[end] for end in (0, -1)]
    best_color = ends[0] if way == "minimize" else ends[1]
    assert best_color == Cividis256[0], "the darkest"
    assert bar.title == SCORES[metric].words
