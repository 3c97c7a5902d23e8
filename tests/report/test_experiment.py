"""An experiment's table: every row there is or should be, beside what was published."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from compress.config.errors import UserError
from compress.experiment.definition import parse_experiment
from compress.records.collect import Collection, collect
from compress.records.schema import RunRecord
from compress.report.experiment import ExperimentTable, experiment_tables
from compress.report.experiment_page import show_tables, tables_markdown
from scripts.experiment_table import main
from tests.records.test_schema import as_failed, make_record
from tests.report.test_report import put

SETTINGS: dict[str, Any] = {
    "name": "mine",
    "source": "a paper",
    "metric": "accuracy",
    "row": None,
    "options": {},
    "rows": {
        "plain": [],
        "small": [["student=layers", "student.keep=2"]],
        "int8": ["quantizer=int8_dynamic"],
    },
    "cross": [],
    "published": {
        "plain": {"accuracy": {"rt": 0.92, "rte": 0.7}},
        "small": {"saved": 0.6, "speedup": 2.5, "f1": 0.81},
    },
    "goals": {"small": {"size_bytes": "<= 0.5 * baseline", "accuracy": ">= 0.99 * baseline"}},
}


def record(
    row: str, *given: str, cross: tuple[str, ...] = (), changes: dict[str, Any] | None = None
) -> RunRecord:
    settings = {**SETTINGS, "row": row, "cross": list(cross)}
    own = parse_experiment(settings).rows[row].overrides
    # A baseline of 0.91 accuracy and 2000 bytes.
    return make_record(  # type: ignore[no-any-return]
        config={"experiment": settings},
        overrides=(*own, "+experiment=mine", *given, f"experiment.row={row}"),
        **(changes or {}),
    )


def tables(*records: RunRecord) -> list[ExperimentTable]:
    runs = tuple((Path(f"out/{i}"), each) for i, each in enumerate(records))
    return experiment_tables(Collection(runs, (), ()))


def shown(*records: RunRecord, width: int = 80) -> str:
    out = io.StringIO()
    show_tables(tables(*records), Console(file=out, width=width))
    return out.getvalue()


def test_figures_beside_the_published_ones() -> None:
    page = tables_markdown(tables(record("plain"), record("small"), record("int8")))
    assert page.splitlines()[2:7] == [
        "| row | accuracy | published | f1 | published | MB | published | saved | published "
        "| speed-up | published | ms 1×32: P50 / P95 / P99 | per s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        "| plain | 0.9000 (0.850 to 0.950) | 0.9200 | 0.8000 | – | 0.0 | – | 50.0 % | – "
        "| 2.00 (1.80 to 2.20) | – | 5.00 / – / – | 200.0 |",
        "| small | 0.9000 (0.850 to 0.950) | – | 0.8000 | 0.8100 | 0.0 | – | 50.0 % | 60.0 % "
        "| 2.00 (1.80 to 2.20) | 2.50 | 5.00 / – / – | 200.0 |",
        "| int8 | 0.9000 (0.850 to 0.950) | – | 0.8000 | – | 0.0 | – | 50.0 % | – "
        "| 2.00 (1.80 to 2.20) | – | 5.00 / – / – | 200.0 |",
    ]
    assert "- Published: a paper." in page
    assert "- The set-up is that of the yaml." in page
    assert "P95 is reported from 200 timed passes on" in page


def test_goals_are_checked_against_the_baseline() -> None:
    [table] = tables(record("small"))
    [small] = [line for line in table.lines if line.run is not None]
    # 1000 <= 0.5 * 2000, but 0.9 < 0.99 * 0.91 = 0.9009.
    assert [(goal.bound.metric, goal.met) for goal in small.goals()] == [
        ("size_bytes", True),
        ("accuracy", False),
    ]
    words = shown(record("small"))
    assert "Goal of small, size_bytes <= 0.5 * baseline: met, 0.0 against 0.0." in words
    assert "accuracy >= 0.99 * baseline: missed, 0.9000 against 0.9009." in words
    assert "accuracy >= 0.99 * baseline: unknown, without a figure." in shown(record("plain"))


def test_nothing_is_hidden() -> None:
    failed = as_failed(record("small"), "no [room]")
    [table] = tables(record("plain"), failed, record("plain"))
    assert [(line.name, line.status) for line in table.lines] == [
        ("plain", "ok"),
        ("plain", "ok"),
        ("small", "failed"),
        ("int8", "not run"),
    ]
    assert not table.whole
    for words in (shown(record("plain"), failed, record("plain")), tables_markdown([table])):
        plain = words.replace("\\", "")
        assert "small failed (out/1): no [room]" in plain
        assert "Not run, or without a record: int8." in plain
        assert "plain was run 2 times: out/0, out/2." in plain


def test_every_figure_is_there_at_80_columns() -> None:
    fast = replace(make_record().metrics.latency[0], p95_ms=6.5, p99_ms=7.25)
    metrics = replace(make_record().metrics, latency=(fast,), size_bytes=438_900_000)
    words = shown(record("small", changes={"metrics": metrics}))
    figures = ("0.9000", "(0.850", "0.950)", "[0.8100]", "438.9", "[60.0 %]", "[2.50]")
    for figure in (*figures, "5.00", "6.50", "7.25", "200.0"):
        assert figure in words
    assert max(map(len, words.split("Published:")[0].splitlines())) <= 80
    assert "P95 is told" not in words


def test_points_that_were_never_reached_are_missing() -> None:
    cross = ("task=rt,rte", "seed=0,1")
    [table] = tables(record("plain", "task=rt", "seed=1", cross=cross))
    assert len(table.lines) == 4 * 3
    [line] = [line for line in table.lines if line.run is not None]
    assert line.name == "plain task=rt seed=1"
    missing = next(line for line in table.lines if line.name == "plain task=rte seed=0")
    assert missing.status == "not run"
    assert [each.published("accuracy") for each in (line, missing)] == [0.92, 0.7]


def test_what_differs_from_the_yaml_is_said() -> None:
    given = ("teacher=tiny", "seed=3", "cache.dir=x", "experiment.options.a=1", "quantizer=bf16")
    int8 = record("int8")
    others = tuple(each for each in int8.overrides if each != "quantizer=int8_dynamic")
    int8 = replace(int8, overrides=(*others[:-1], *given, others[-1]))
    [table] = tables(record("plain", *given), int8)
    assert table.changed == ("teacher=tiny", "experiment.options.a=1")
    assert table.row_changes() == {
        "quantizer=bf16": ["plain", "int8"],
        "no quantizer=int8_dynamic": ["int8"],
    }
    assert (
        "The set-up differs from the yaml: teacher=tiny, experiment.options.a=1; plain, int8: "
        "quantizer=bf16; int8: no quantizer=int8_dynamic." in shown(record("plain", *given), int8)
    )


def test_set_ups_are_tables_of_their_own() -> None:
    found = tables(record("plain"), record("plain", "task.limit=8"), record("small"))
    assert [(table.changed, len(table.runs)) for table in found] == [
        ((), 2),
        (("task.limit=8",), 1),
    ]


def test_other_runs_are_none_of_an_experiment() -> None:
    assert len(tables(record("plain"), make_record())) == 1
    with pytest.raises(UserError, match="no run belongs to an experiment"):
        tables(make_record())


@pytest.mark.parametrize(("rows", "code"), [(("plain", "small", "int8"), 0), (("plain",), 1)])
def test_the_script(
    rows: tuple[str, ...], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, **{row: record(row) for row in rows})
    page = tmp_path / "page.md"
    arguments = [str(tmp_path), "--markdown", str(page)]
    monkeypatch.setattr(sys, "argv", ["experiment_table.py", *arguments])
    assert main() == code
    assert page.read_text() == tables_markdown(experiment_tables(collect([tmp_path])))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "metrics.json").write_text("{")
    assert main() == 1
