from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from compress.analysis.goals import parse_goals
from compress.records.folds import Folds
from compress.records.schema import RunRecord, read_record, write_record
from compress.search.front import FeasibleTrial, Front, discard_model
from compress.search.trial_store import TrialStore
from tests.folders import contents
from tests.search.records import record_of
from tests.store.test_run_folder import SPOILT, write_model


def front_of(metric: str, way: str) -> Front:
    goals = parse_goals({metric: way, "size_bytes": "minimize"}, {}, "validation")
    return Front(Mock(spec=TrialStore, goals=goals), Path("search"), "all")


def found_of(metric: str, baseline: float, *trials: tuple[float, int]) -> list[FeasibleTrial]:
    records = (
        record_of(accuracy=value, validation=value, size=size, metric=metric, baseline=baseline)
        for value, size in trials
    )
    return [FeasibleTrial(n, Path(str(n)), record) for n, record in enumerate(records)]


@pytest.mark.parametrize(
    ("metric", "way", "baseline", "values", "little", "more", "shown"),
    [
        ("accuracy", "maximize", 0.9, (0.895, 0.88, 0.8), "at most 1 % of accuracy lost",
         "at most 3 % of accuracy lost", "accuracy 0.8800, "),
        ("spearman", "maximize", 0.9, (0.895, 0.88, 0.8),
         "at most 0.01 of Spearman correlation lost", "at most 0.03 of Spearman correlation lost",
         "Spearman correlation 0.8800, "),
        ("perplexity", "minimize", 20.0, (20.1, 20.5, 30.0), "perplexity at most 1 % higher",
         "perplexity at most 3 % higher", "perplexity 20.500, "),
    ],
)  # fmt: skip
def test_trials_are_picked_within_budgets_of_the_score(
    metric: str, way: str, baseline: float, values: tuple[float, ...], little: str, more: str,
    shown: str,
) -> None:  # fmt: skip
    front = front_of(metric, way)
    found = found_of(metric, baseline, *zip(values, (90, 50, 10), strict=True))
    assert [each.number for each in front.best(found)] == [0, 1, 2]
    assert 0 < front.volume(found) < 1
    picks = {name: pick["smallest"].number for name, pick in front.picks(found).items()}
    assert picks == {little: 0, more: 1}
    row = front._row(found[1])
    assert (row[metric], row[f"objective_{metric}"]) == (values[1], values[1])
    assert row["score_low"] < row[metric] < row["score_high"]


def test_without_a_trial_there_is_nothing_to_pick() -> None:
    front = front_of("accuracy", "maximize")
    assert front.picks([]) == {}


def write_trial(folder: Path, model: str = "model") -> RunRecord:
    """A trial's folder with its record, which may name another model, and its model."""
    write_model(folder / "model")
    record = replace(record_of(), model=model)
    write_record(record, folder)
    return record


def test_a_model_is_deleted_and_its_record_says_so(tmp_path: Path) -> None:
    record = write_trial(tmp_path / "3")
    gone = discard_model(tmp_path / "3", record)
    assert gone.model is None
    assert read_record(tmp_path / "3" / "metrics.json") == gone
    assert [path.name for path in (tmp_path / "3").iterdir()] == ["metrics.json"]


@pytest.mark.parametrize(
    "model", ["../4/model", "../..", "..", ".", "", "./model", "model/", "model/..", "{}/4/model"]
)
def test_a_record_leads_to_no_other_folder(model: str, tmp_path: Path) -> None:
    write_trial(tmp_path / "4")
    record = write_trial(tmp_path / "3", model=model.format(tmp_path))
    before = contents(tmp_path)
    assert discard_model(tmp_path / "3", record) == record
    folds = Folds(folders=(model.format(tmp_path), "../4"))
    discard_model(tmp_path / "3", replace(record, folds=folds))
    after = contents(tmp_path)
    assert before.pop("3/metrics.json") != after.pop("3/metrics.json")
    assert after == before


@pytest.mark.parametrize("spoil", SPOILT)
def test_a_model_with_something_of_the_users_is_kept(
    spoil: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record = write_trial(tmp_path / "3")
    spoil(tmp_path / "3" / "model")
    before = contents(tmp_path)
    with caplog.at_level("WARNING", logger="compress.search.front"):
        assert discard_model(tmp_path / "3", record) == record
    assert contents(tmp_path) == before


def test_a_study_leads_to_no_other_folder(tmp_path: Path) -> None:
    for place in ("mine/0", "search/0", "search/1"):
        write_trial(tmp_path / place)
    front = Front(Mock(spec=TrialStore), tmp_path / "search", "front")
    front._discard(FeasibleTrial(0, tmp_path / "mine" / "0", replace(record_of(), model="model")))
    assert (tmp_path / "mine" / "0" / "model").is_dir()
    assert not (tmp_path / "search" / "0" / "model").exists()
    assert (tmp_path / "search" / "1" / "model").is_dir()
