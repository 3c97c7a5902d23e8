from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from bokeh.embed import file_html
from bokeh.models import Axis, Column, HoverTool, LegendItem, Title
from bokeh.models.dom import HTML
from bokeh.models.widgets.markups import Markup
from bokeh.resources import CDN

from compress.records.schema import FinishedRun, write_record
from compress.report.html.panel import Panel, short
from compress.report.html.panels import panels
from compress.report.sections import Section
from tests.records.test_schema import as_failed
from tests.report.records import (
    HOSTILE,
    bert_layers,
    curve,
    plain,
    section_of,
    trained,
    with_layers,
    with_quantiles,
    with_stages,
)
from tests.search.test_past import SEARCH

KEY = "<script>alert(3)</script>$$x$$"  # no dot, no equals sign: they end a key
TITLES = [
    "What each stage did", "What each choice does", "How the search … went", "All trials",
    "Importance of the settings", "Failed and infeasible trials", "Training curves",
    "How latency spreads", "What remains of each layer",
]  # fmt: skip


def hostile(number: int) -> FinishedRun:
    """A trial all of whose texts are hostile."""
    choices = {"teacher": "t", "pruner": HOSTILE, "quantizer": f"{HOSTILE}{number % 2}"}
    record = plain(
        0.6 + number / 5000,
        1000 + number % 200 - number // 200,
        choices={**choices, "task": HOSTILE},
        overrides=(f"pruner={HOSTILE}{number % 3}", f"pruner.{KEY}={HOSTILE}{number}"),
        config={"search": {**SEARCH, "name": HOSTILE, "space": {}}, "pruner": {KEY: HOSTILE}},
        history=(trained(HOSTILE, curve(start=1.0 + number)),),
    )
    record = with_stages(with_quantiles(record, 5.0), HOSTILE)
    layers = [replace(e, name=f"x.{i}.{HOSTILE}.weight") for i, e in enumerate(bert_layers())]
    record = with_layers(record, [replace(each, zeros=each.zeros + 20) for each in layers])
    return replace(
        record,
        metrics=replace(record.metrics, validation=record.metrics.score),
        baseline=replace(record.baseline, validation=record.baseline.score),
    )


def hostile_search(folder: Path) -> Section:
    (folder / "front.json").write_text("{}")
    runs = [(folder / str(number), hostile(number)) for number in range(12)]
    (folder / "12").mkdir()
    write_record(as_failed(runs[0][1], HOSTILE), folder / "12")
    return Section(HOSTILE, HOSTILE, HOSTILE, tuple(runs))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Panel]:
    return list(panels(hostile_search(tmp_path_factory.mktemp("search"))))


def test_every_panel_is_there_with_words(found: list[Panel]) -> None:
    assert [re.sub("(?<=search ).*(?= went)", "…", panel.title) for panel in found] == TITLES
    assert all(panel.words.endswith(".") for panel in found)


def test_hostile_text_stays_text(found: list[Panel]) -> None:
    models = [model for panel in found for model in panel.drawing.references()]
    for model in models:
        # What Bokeh takes for markup stands in these, and in tooltips.
        assert not isinstance(model, Markup | HTML)
        if isinstance(model, HoverTool):
            assert "alert" not in str(model.tooltips)
            assert "safe" not in str(model.tooltips)
    labels = [str(model.text) for model in models if isinstance(model, Title)]
    labels += [str(model.label) for model in models if isinstance(model, LegendItem)]
    for axis in (model for model in models if isinstance(model, Axis)):
        labels += [str(axis.axis_label), *map(str, axis.major_label_overrides.values())]
    assert any("script" in label for label in labels)
    assert not any("$$" in label for label in labels), "it would be typeset as a formula"
    page = file_html(Column(children=[panel.drawing for panel in found]), CDN)
    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert "<img src=x" not in page


@pytest.mark.parametrize(
    ("text", "most", "label"),
    [
        ("a  b\nc", 8, "a b c"),
        ("abcdefghijkl", 10, "abcdef…jkl"),
        ("abcdefgh", 8, "abcdefgh"),
        ("abcdefghi", 8, "abcd…ghi"),
        ("$$x$$", 20, "$\u200b$x$\u200b$"),
        (r"\(x\) \[y\] \n", 30, "\\\u200b(x\\\u200b) \\\u200b[y\\\u200b] \\n"),
        ("", 8, ""),
    ],
)
def test_labels_are_one_line_that_fits_and_no_formula(text: str, most: int, label: str) -> None:
    assert short(text, most) == label


def test_old_records_and_a_sweep_of_one_run_have_nothing_to_draw() -> None:
    assert list(panels(section_of(plain()))) == []


@pytest.mark.slow
def test_a_thousand_runs_take_seconds(tmp_path: Path) -> None:
    (tmp_path / "front.json").write_text("{}")
    runs = tuple((tmp_path / str(number), hostile(number)) for number in range(1000))
    began = time.process_time()
    found = list(panels(Section("rt", "x", "cpu", runs)))
    assert time.process_time() - began < 8, "3 s on a core of an EPYC of family 25"
    assert len(found) == len(TITLES) - 1, "no trial was lost"
