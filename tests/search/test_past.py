from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compress.records.schema import RunRecord, write_record
from compress.search.past import PastSearch, growth, past_searches
from tests.search.records import record_of

SEARCH = {
    "name": "mine",
    "space": {"pruner": "choice(none, wanda)"},
    "objectives": {"accuracy": "maximize", "size_bytes": "minimize"},
    "constraints": {"accuracy": ">= 0.25 * baseline"},
    "split": "validation",
}


def trial(validation: float, size: int, *overrides: str, **search: Any) -> RunRecord:
    """A finished trial; its baseline has 0.8 accuracy and 100 bytes."""
    record = record_of(validation=validation, size=size, overrides=("+search=pareto", *overrides))
    return replace(record, config={"search": {**SEARCH, **search}})


def lay(folder: Path, **records: RunRecord) -> list[tuple[Path, RunRecord]]:
    """Writes records below the folder of a search, `t3` into 3; returns those with figures."""
    (folder / "front.json").write_text("{}")
    for name, record in records.items():
        (folder / name[1:]).mkdir()
        write_record(record, folder / name[1:])
    return [(folder / n[1:], r) for n, r in records.items() if r.status == "ok"]


def the(runs: list[tuple[Path, RunRecord]]) -> PastSearch:
    [search] = past_searches(runs)
    return search


def test_points_are_what_differs_and_trials_go_by_number(tmp_path: Path) -> None:
    runs = lay(
        tmp_path,
        t10=trial(0.7, 50, "pruner=wanda", "pruner.sparsity=0.5", "seed=1"),
        t2=trial(0.8, 100, "pruner=none", "seed=1"),
    )
    search = the(runs)
    assert [(each.number, each.values) for each in search.trials] == [
        (2, (0.8, 100.0)), (10, (0.7, 50.0)),
    ]  # fmt: skip
    assert [each.point for each in search.trials] == [
        {"pruner": "none"}, {"pruner": "wanda", "pruner.sparsity": "0.5"},
    ]  # fmt: skip
    assert search.keys == ["pruner", "pruner.sparsity"]
    assert (search.name, search.space) == ("mine", SEARCH["space"])


def test_the_volume_grows_with_what_no_trial_before_had(tmp_path: Path) -> None:
    runs = lay(
        tmp_path,
        t0=trial(0.8, 50, "a=0"),  # the teacher's accuracy, half its size: 1 × 0.5
        t1=trial(0.4, 25, "a=1"),  # half of it at a quarter: adds 0.5 × 0.25
        t2=trial(0.4, 50, "a=2"),  # worse than either
        t3=trial(0.1, 1, "a=3"),  # too inaccurate to count
        t4=trial(0.8, 20, "a=4"),  # better than all: 1 × 0.8
    )
    search = the(runs)
    assert growth(search) == pytest.approx([0.5, 0.625, 0.625, 0.625, 0.8])
    assert [each.feasible for each in search.trials] == [True, True, True, False, True]
    assert search.reasons == {"breaks accuracy >= 0.25 * baseline": 1}


def test_reasons_are_counted_and_their_figures_left_out_where_they_differ(tmp_path: Path) -> None:
    lost = replace(trial(0.8, 50), status="failed", metrics=None, baseline=None, speedup=())
    runs = lay(
        tmp_path,
        t0=trial(0.8, 50, "a=0"),
        t1=replace(lost, error="no memory"),
        t2=replace(lost, status="infeasible", error="size would be 15,569,103, allowed is <= 1e7"),
        t3=replace(lost, status="infeasible", error="size would be 15,800, allowed is <= 1e7"),
        t5=replace(lost, error="no memory"),
        t6=replace(lost, error="exit code 3"),
    )
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "metrics.json").write_text("{")
    assert the(runs).reasons == {
        "failed: no memory": 2,
        "infeasible: size would be …, allowed is <= …": 2,
        "failed: exit code 3": 1,
        "its record cannot be read": 1,
    }


def test_a_trial_without_an_objective_is_lost(tmp_path: Path) -> None:
    aims = {"peak_memory_bytes": "minimize"}
    runs = lay(tmp_path, t0=trial(0.8, 50, objectives=aims, constraints={}))
    assert list(past_searches(runs)) == []
    record = trial(0.8, 50, "a=1")
    old = replace(record, metrics=replace(record.metrics, validation=None))
    runs = lay(tmp_path, t1=old, t2=record)
    assert the(runs).reasons == {"not scored on the validation rows": 1}
    assert [each.number for each in the(runs).trials] == [2]


def test_a_sweep_and_a_run_outside_of_its_search_are_no_trials(tmp_path: Path) -> None:
    record = trial(0.8, 50, "a=1")
    assert list(past_searches([(tmp_path / "0", record)])) == [], "no front.json beside it"
    (tmp_path / "front.json").write_text("{}")
    assert list(past_searches([(tmp_path / "mine", record)])) == [], "no number"
    assert list(past_searches([(tmp_path / "0", replace(record, config={}))])) == []


def test_a_search_that_cannot_be_read_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    runs = lay(tmp_path, t0=trial(0.8, 50, objectives={"beauty": "maximize"}))
    assert list(past_searches(runs)) == []
    assert (
        "cannot read the search's objectives: search.objectives must be among quality, accuracy"
        in caplog.text
    )


def test_two_searches_stay_two(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    runs = lay(one, t0=trial(0.8, 50, name="a")) + lay(two, t0=trial(0.8, 50, name="b"))
    assert [search.name for search in past_searches(runs)] == ["a", "b"]
