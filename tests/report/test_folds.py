"""What is told of a run with folds, and what is done with its models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import stdev

import pandas as pd
import pytest

from compress.config.errors import UserError
from compress.records.collect import collect
from compress.records.folds import Folds, spread
from compress.records.schema import FinishedRun, read_record, write_record
from compress.report.write import write_report
from compress.search.front import discard_model
from compress.tracker.components.figures import figures
from scripts.export import export
from tests.records.test_schema import make_record

MANIFEST = '{"schema": 1, "history": [], "files": {}}'  # of a model whose files do not matter


def spread_record(**changes: object) -> FinishedRun:
    """A record of a run with folds."""
    folds = Folds(
        ("fold-1", "fold-2"),
        {"accuracy": spread([0.88, 0.92]), "size_bytes": spread([999, 1001])},
        {"accuracy": spread([0.91, 0.91])},
    )
    return make_record(model=None, baseline_model=None, history=(), folds=folds, **changes)


def test_records_and_trackers_and_words_have_the_spread(tmp_path: Path) -> None:
    record = spread_record()
    assert read_record(write_record(record, tmp_path)) == record
    assert figures(record)["accuracy_sd"] == pytest.approx(stdev([0.88, 0.92]))
    assert record.folds is not None
    told = record.folds.words(("accuracy", "size_bytes", "latency_ms"))
    assert told == "2 folds: accuracy 0.900 ± 0.028 (teacher 0.91 ± 0)"


@pytest.mark.usefixtures("undrawn")
def test_the_report_has_folds_as_one_run(tmp_path: Path) -> None:
    run = tmp_path / "<b>0"
    for name in ("fold-1", "fold-2"):
        (run / name).mkdir(parents=True)
        write_record(make_record(), run / name)
    write_record(spread_record(), run)
    write_record(make_record(), tmp_path)
    assert [folder for folder, _ in collect([run]).runs] == [run]
    assert [folder for folder, _ in collect([run / "fold-1"]).runs] == [run / "fold-1"]
    report = write_report([run.parent], tmp_path)
    table = pd.read_csv(tmp_path / "results.csv")
    assert len(table) == 2
    assert table["folds"].dropna().tolist() == [2]
    assert table["accuracy_sd"].dropna().tolist() == [pytest.approx(0.0283, abs=1e-4)]
    page = report.page.read_text()
    assert "<h3>Folds</h3>" in page
    assert '<td class="figure">0.900 ± 0.028</td>' in page
    assert "&lt;b&gt;0</th>" in page
    assert "were deleted after they were measured" not in page


def test_folds_of_a_run_that_was_killed_are_no_runs(tmp_path: Path) -> None:
    run = tmp_path / "0"
    (run / ".hydra").mkdir(parents=True)
    (run / "fold-1").mkdir()
    write_record(make_record(), run / "fold-1")
    found = collect([tmp_path])
    assert (found.runs, found.unfinished) == ((), (run,))


def test_the_models_of_folds_are_deleted_together(tmp_path: Path) -> None:
    for name in ("fold-1", "fold-2"):
        (tmp_path / name / "model").mkdir(parents=True)
        (tmp_path / name / "model" / "manifest.json").write_text(MANIFEST)
        write_record(make_record(), tmp_path / name)
    record = spread_record()
    path = write_record(record, tmp_path)
    assert discard_model(tmp_path, record) == read_record(path)
    assert read_record(path).folds == replace(record.folds, kept=False)  # type: ignore[type-var]
    for name in ("fold-1", "fold-2"):
        assert not (tmp_path / name / "model").exists()
        assert read_record(tmp_path / name / "metrics.json").model is None


def test_a_run_of_folds_is_not_exported_as_one(tmp_path: Path) -> None:
    write_record(spread_record(), tmp_path)
    with pytest.raises(UserError, match=r"has a model for each fold; .* fold-1, fold-2"):
        export(tmp_path, tmp_path / "new")
