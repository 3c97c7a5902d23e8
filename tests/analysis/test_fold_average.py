from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev

import pytest

from compress.analysis.fold_average import average, mean_interval, over_folds
from compress.analysis.intervals import mcnemar_p_value, wilson_interval
from compress.records.folds import Spread, spread
from compress.records.metrics import METRICS, objective_values
from compress.records.probabilities import ClassScore
from compress.records.schema import (
    Comparison,
    Data,
    Environment,
    FinishedRun,
    Speedup,
    read_record,
    write_record,
)
from compress.report.write import write_report
from compress.store.run_folder import make_fold
from tests.configs import SHARED, blank_record
from tests.records.test_schema import WRITING, absent_scores, make_metrics, make_record
from tests.replay.test_rebench import quick_measure
from tests.task.tables import write


@dataclass(frozen=True)
class Share:
    """As scores are: a figure with an interval behind it, whatever their names."""

    samples: int
    share: float
    share_low: float
    share_high: float


def test_mean_and_sd_worked_by_hand() -> None:
    # Deviations from 5 are -3, -1, -1, 5: squares add up to 36, over 3 it is 12.
    found = spread([2.0, 4.0, 4.0, 10.0])
    assert found.mean == 5.0
    assert found.sd == pytest.approx(math.sqrt(12))
    assert found.values == (2.0, 4.0, 4.0, 10.0)


@pytest.mark.parametrize(
    ("mean", "sd", "words"),
    [
        (0.84213, 0.01267, "0.842 ± 0.013"),
        (0.5, 0.0, "0.5 ± 0"),
        (11_512_345.2, 1234.5, "11,512,345 ± 1,234"),
        (4.63, 0.5, "4.63 ± 0.50"),
        (123.4, 12.3, "123 ± 12"),
    ],
)
def test_a_spread_in_words_has_the_digits_that_mean_something(
    mean: float, sd: float, words: str
) -> None:
    assert str(Spread(mean, sd, ())) == words


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 2.0], 1.5),
        ([1, 2, 2], 2),
        ([1, 2.0], 1.5),
        ([True, True], True),
        ([True, False], False),
        ([None, 2.0], None),
        ([None, None], None),
        ([(1.0, 2.0), (3.0, 6.0)], (2.0, 4.0)),
        ([(1.0,), (1.0, 2.0)], ()),
        ([{"a": 1.0, "b": 2.0}, {"a": 3.0}], {"a": 2.0}),
        (["torch", "torch"], "torch"),
        (["a.csv; fold 1", "a.csv; fold 2"], "a.csv; fold 1; fold 2"),
        ([None, "busy", None], "busy"),
    ],
)
def test_what_stands_for_several_values(values: list[object], expected: object) -> None:
    found = average(values)
    assert found == expected
    assert type(found) is type(expected)


def test_an_interval_is_that_of_the_mean() -> None:
    # Distances below are 0.3 and 0.4, above 0.6 and 0.8: their squares add up to 0.5² and 1².
    assert mean_interval([1.0, 2.0], [0.7, 1.6], [1.6, 2.8]) == pytest.approx((1.25, 2.0))
    made = average([Share(10, 1.0, 0.7, 1.6), Share(20, 2.0, 1.6, 2.8)])
    assert made == Share(30, 1.5, pytest.approx(1.25), pytest.approx(2.0))


def test_the_interval_is_nearly_that_of_all_rows() -> None:
    correct = (160, 170, 165, 158, 172)
    lows, highs = zip(*(wilson_interval(each, 200) for each in correct), strict=True)
    found = mean_interval([each / 200 for each in correct], lows, highs)
    assert found == pytest.approx(wilson_interval(sum(correct), 1000), abs=0.005)
    assert found[1] - found[0] < 0.5 * (highs[0] - lows[0])


def test_comparisons_are_of_all_rows() -> None:
    made = average([Comparison(0.9, 3, 1, 0.6), Comparison(0.8, 9, 1, 0.02)])
    assert made == Comparison(pytest.approx(0.85), 12, 2, mcnemar_p_value(12, 2))


def test_other_tests_of_the_folds_become_one() -> None:
    """By Fisher's method: -2 · (ln 0.05 + ln 0.2) = 9.21 is beaten by chance in 5.6 %."""
    folds = [Comparison(None, None, None, p, "a test") for p in (0.05, 0.2)]
    assert average(folds) == Comparison(
        None,
        None,
        None,
        pytest.approx(0.01 * (1 - math.log(0.01))),
        "a test, folds by Fisher's method",
    )


def test_the_standard_error_of_a_mean_over_folds_is_smaller_than_theirs() -> None:
    """√(0.03² + 0.04²) / 2: folds have different rows."""
    folds = [Comparison(None, None, None, 0.5, "a test", error) for error in (0.03, 0.04)]
    assert average(folds).standard_error == pytest.approx(0.025)


def test_tables_of_the_folds_are_added_up() -> None:
    tables = (((1, 2), (3, 4)), ((10, 20), (30, 40)))
    folds = [replace(make_metrics(), confusion=table) for table in tables]
    assert average(folds).confusion == ((11, 22), (33, 44))
    classes = [(ClassScore("a", rows, 0.5, recall),) for rows, recall in ((3, 0.2), (5, 0.4))]
    [made] = average([replace(make_metrics(), classes=each) for each in classes]).classes
    assert made == ClassScore("a", 8, 0.5, pytest.approx(0.3))
    unequal = [replace(make_metrics(), confusion=each) for each in (tables[0], ())]
    assert average(unequal).confusion == ()


def test_a_difference_in_time_is_evaluated_by_the_new_interval() -> None:
    pair = [Speedup(1, 32, 1.04, 1.01, 1.07, 1.02), Speedup(1, 32, 1.06, 1.03, 1.09, 1.02)]
    assert [each.counts for each in pair] == [False, True]
    made = average(pair)
    assert made.counts
    assert (made.ratio, made.low) == (pytest.approx(1.05), pytest.approx(1.05 - 0.03 / 2**0.5))
    assert average([replace(each, floor=None) for each in pair]).floor is None


def test_a_whole_run_has_the_means_of_its_folds() -> None:
    accuracies = (0.8, 0.9, 0.85)
    folds = {
        f"fold-{i}": make_record(
            accuracy,
            1001 + i,
            5.0,
            data=Data(f"rows; evaluated on {i}", 10, 2, 3 + i, f"d{i}"),
            environment=Environment("X", "cpu", 0.1 * i, {}, busy="so" if i == 1 else None),
            measuring_seconds=2.0,
        )
        for i, accuracy in enumerate(accuracies, start=1)
    }
    base = make_record()
    blank = blank_record()
    whole = over_folds(blank, folds)
    assert (whole.status, whole.model, whole.baseline_model) == ("ok", None, None)
    assert whole.folds is not None
    assert whole.folds.folders == ("fold-1", "fold-2", "fold-3")
    assert whole.folds.figures["accuracy"] == Spread(
        pytest.approx(0.85), pytest.approx(stdev(accuracies)), accuracies
    )
    assert whole.folds.figures["size_bytes"].values == (1002, 1003, 1004)
    assert whole.folds.baseline["accuracy"].mean == METRICS["accuracy"].read(
        replace(base, metrics=base.baseline)
    )
    assert whole.folds.baseline["speedup"].values == (1.0, 1.0, 1.0)
    for name, found in whole.folds.figures.items():
        assert METRICS[name].read(whole) == pytest.approx(found.mean, abs=0.5), name
    assert whole.metrics.score.samples == 300
    assert whole.data.evaluation == 4 + 5 + 6
    assert whole.data.source == "rows; evaluated on each of 3 folds"
    assert (whole.environment.load_average, whole.environment.busy) == (pytest.approx(0.2), "so")
    assert whole.measuring_seconds == 6.0
    assert [stage.name for stage in whole.stages] == [f"fold-{i}/teacher" for i in (1, 2, 3)]
    other = {**folds, "fold-3": folds["fold-2"]}
    assert over_folds(blank, other).data != whole.data


def test_a_figure_that_a_fold_lacks_has_no_spread() -> None:
    metrics = replace(make_metrics(), peak_memory_bytes=None)
    folds = {"fold-1": make_record(), "fold-2": make_record(metrics=metrics)}
    whole = over_folds(blank_record(), folds)
    assert whole.folds is not None
    left_out = set(METRICS) - set(whole.folds.figures)
    assert left_out == {"peak_memory_bytes"} | WRITING | absent_scores(make_record())
    assert math.isnan(METRICS["peak_memory_bytes"].read(whole))


ROWS = [(f"a {('dull', 'bright')[i % 2]} film {i}", ("sad", "glad")[i % 2]) for i in range(60)]


def test_a_run_has_a_model_for_each_fold(
    run_config: Callable[..., FinishedRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compress.pipeline.measure", quick_measure)
    path = write(tmp_path / "mine.csv", ROWS)
    chosen = ["task=csv", f"task.path={path}", "task.split.folds=2", "pruner=wanda"]
    folder = tmp_path / "run"
    folder.mkdir()
    make_fold(folder, 7)
    with monkeypatch.context() as killed:
        killed.setattr("compress.pipeline.over_folds", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_config(*chosen, folder=folder)
    record = run_config(*chosen, folder=folder)
    assert sorted(path.name for path in folder.glob("fold-*")) == ["fold-1", "fold-2"]
    assert record.stages
    assert not [stage for stage in record.stages if stage.outcome == "computed"], "all are kept"
    folds = [read_record(folder / name / "metrics.json") for name in ("fold-1", "fold-2")]
    assert record.folds is not None
    for name in ("accuracy", "size_bytes", "speedup", "f1_macro", "agreement"):
        values = tuple(float(METRICS[name].read(each)) for each in folds)
        assert record.folds.figures[name] == Spread(fmean(values), stdev(values), values)
        assert objective_values(record, (name,)) == pytest.approx([fmean(values)], abs=0.5)
    assert len({each.data.digest for each in folds if each.data is not None}) == 2
    for number, each in enumerate(folds, start=1):
        home = folder / f"fold-{number}"
        assert each.overrides[-1] == f"task.split.fold={number}"
        assert each.model is not None
        assert each.baseline_model is not None
        assert (home / each.baseline_model / "manifest.json").is_file()
        assert f"task.split.fold={number}" in (home / each.model / "README.md").read_text()
        assert each.seconds > 0


@pytest.mark.slow
def test_a_real_file_in_five_folds(run_config: Callable[..., FinishedRun], tmp_path: Path) -> None:
    path = SHARED / "data" / "bengali_hate" / "bengali_hate_v2.0.csv"
    if not path.exists():
        pytest.skip("needs ../shared/data/bengali_hate")
    folder = tmp_path / "run"
    record = run_config(
        "task=csv", f"task.path={path}", "task.split.folds=5", "pruner=wanda",
        "quantizer=int8_dynamic", "measure_stages=true",
        folder=folder,
    )  # fmt: skip
    assert record.folds is not None
    assert record.data.evaluation == 5 * 64
    assert [each.stage for each in record.stage_metrics] == ["pruner"]
    assert "accuracy" in record.folds.baseline
    write_record(record, folder)
    assert len(write_report([folder], folder).collection.ok) == 1
