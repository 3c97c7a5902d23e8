from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import optuna
import psutil
import pytest
from optuna.trial import TrialState

from compress.config.errors import UserError
from compress.records.schema import read_record
from compress.search.limits import EarlyStopping, Limits
from compress.search.run import run_search
from compress.search.storage import open_storage
from tests.folders import contents
from tests.search.engine import search_of
from tests.search.outcomes import check_finished, is_gone, reasons, trials

ENDS = (TrialState.COMPLETE, TrialState.FAIL)
FAULTS = {"fault": "choice(none, {})", "x": "choice(0.4, 0.6)"}


def test_a_search_uses_its_budget_and_leaves_its_front(tmp_path: Path) -> None:
    run_search(search_of(tmp_path, budget=6, workers=2))
    check_finished(tmp_path, 6)
    front = json.loads((tmp_path / "trials" / "front.json").read_text())
    # The larger x, the more accurate and the larger the model: all are on the front.
    assert len(front["front"]) == front["complete"] == 6
    assert front["hypervolume"] > 0
    rows = (tmp_path / "trials" / "front.csv").read_text().splitlines()
    assert len(rows) == 7
    assert front["front"][0]["command"].startswith("python run.py x=")
    # The same command again has nothing left to do.
    run_search(search_of(tmp_path, budget=6))
    check_finished(tmp_path, 6)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("exception", "ValueError: broken on purpose"),
        ("own", "no rows for this x"),
        ("silent", "its run wrote no record; see {}/trials/{}/output.log"),
        ("exit", "SystemExit"),
        ("kill", "its process was killed by SIGKILL; out of memory? (while: student)"),
        ("memory", "out of memory"),
        ("child", "killed by SIGKILL"),
    ],
)
def test_a_trial_that_breaks_costs_no_other(tmp_path: Path, fault: str, words: str) -> None:
    space = {name: text.format(fault) for name, text in FAULTS.items()}
    run_search(search_of(tmp_path, space=space, budget=4, sampler="grid"))
    complete, failed = ([t for t in trials(tmp_path) if t.state == state] for state in ENDS)
    assert (len(complete), len(failed)) == (2, 2)
    for trial in failed:
        assert words.format(tmp_path, trial.number) in trial.user_attrs["reason"]
    if fault == "child":
        assert is_gone(int((tmp_path / "trials" / "child").read_text()))


def test_a_trial_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    space = {name: text.format("hang") for name, text in FAULTS.items()}
    run_search(search_of(tmp_path, space=space, limits=Limits(None, None, 1.0), workers=2))
    assert [trial.state for trial in trials(tmp_path)].count(TrialState.COMPLETE) == 2
    assert all("search.trial_timeout=1 s" in reason for reason in reasons(tmp_path))


def test_a_figure_that_is_no_number_fails_the_trial(tmp_path: Path) -> None:
    run_search(search_of(tmp_path, budget=2, objectives={"resident_bytes": "minimize"}))
    assert reasons(tmp_path) == ["resident_bytes could not be measured"] * 2


def test_failures_and_hours_have_a_limit(tmp_path: Path) -> None:
    space = {"fault": "choice(exception)", "x": "range(0.1, 0.9, step=0.1)"}
    with pytest.raises(SystemExit, match="max_failures=1 trials failed"):
        run_search(search_of(tmp_path, space=space, limits=Limits(None, 1, None)))
    assert len(reasons(tmp_path)) == 2
    with pytest.raises(SystemExit, match="max_hours=1e-06 have passed"):
        run_search(search_of(tmp_path / "late", limits=Limits(1e-6, None, None)))
    with pytest.raises(
        SystemExit, match=r"max_hours=1 have passed\. The same command with a larger limit resumes"
    ):
        run_search(search_of(tmp_path / "spent", limits=Limits(1, None, None, spent=1.0)))


def test_hours_that_have_passed_leave_the_trials_that_were_paid_for(tmp_path: Path) -> None:
    limits = Limits(1, None, None, spent=2.0, least=1)
    for _ in range(2):  # the second time resumes
        with pytest.raises(SystemExit, match="max_hours=1 have passed"):
            run_search(search_of(tmp_path, budget=3, limits=limits))
        assert len(trials(tmp_path)) == 1


def test_what_has_run_all_its_trials_was_not_stopped_by_the_hours(tmp_path: Path) -> None:
    run_search(search_of(tmp_path, budget=1))
    run_search(search_of(tmp_path, budget=1, limits=Limits(1e-6, None, None)))
    assert len(trials(tmp_path)) == 1


def test_what_cannot_meet_a_bound_is_rejected_before_it_is_trained(tmp_path: Path) -> None:
    search = search_of(
        tmp_path,
        space={"x": "choice(0.2, 0.8)"},
        budget=2,
        constraints={"parameters": "<= 50"},
    )
    run_search(search)
    states = {trial.params["x"]: trial.state for trial in trials(tmp_path)}
    assert states == {"0.2": TrialState.COMPLETE, "0.8": TrialState.PRUNED}
    number = next(t.number for t in trials(tmp_path) if t.state == TrialState.PRUNED)
    record = read_record(tmp_path / "trials" / str(number) / "metrics.json")
    assert record.status == "infeasible"
    assert "parameters would be 80 or more" in str(record.error)


def test_what_trains_badly_is_given_up_in_its_training(tmp_path: Path) -> None:
    search = search_of(
        tmp_path,
        space={"x": "choice(0.2, 0.45, 0.8)"},
        budget=3,
        constraints={"accuracy": ">= 0.5"},
        limits=Limits(None, None, None, EarlyStopping(after=0.5, margin=0.1)),
    )
    run_search(search)
    states = {trial.params["x"]: trial.state for trial in trials(tmp_path)}
    # 0.45 is within the margin: it may learn more.
    ended = {"0.2": TrialState.PRUNED, "0.45": TrialState.COMPLETE, "0.8": TrialState.COMPLETE}
    assert states == ended


def test_models_off_the_front_are_deleted(tmp_path: Path) -> None:
    # Beyond the bound; within it, all are on the front.
    search = search_of(
        tmp_path, budget=6, keep="front", constraints={"accuracy": ">= 0.5"}, sampler="grid"
    )
    run_search(search)
    for trial in trials(tmp_path):
        folder = Path(trial.user_attrs["folder"])
        record = read_record(folder / "metrics.json")
        kept = float(trial.params["x"]) >= 0.5
        assert (folder / "model").exists() == kept == (record.model is not None)


def test_measuring_is_done_alone(tmp_path: Path) -> None:
    run_search(search_of(tmp_path, budget=6, workers=3, fixed=("seconds=0.1",)))
    spans = []
    for trial in trials(tmp_path):
        text = (Path(trial.user_attrs["folder"]) / "quiet").read_text()
        spans.append(tuple(map(float, text.split())))
    spans.sort()
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))


def test_all_processes_end_with_the_search(tmp_path: Path) -> None:
    run_search(search_of(tmp_path / "first"))
    before = children()
    run_search(search_of(tmp_path / "second", workers=2))
    assert children() <= before


def children() -> set[int]:
    """Processes that this one started, but for the server that workers are forked from."""
    return {each.pid for each in psutil.Process().children(recursive=True)}


def test_a_worker_that_cannot_start_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compress.search.worker_pool.serve", _exit)
    with pytest.raises(UserError, match="a worker did not start: its process ended"):
        run_search(search_of(tmp_path))


def _exit(*_: object) -> None:
    sys.exit(7)


def test_a_folder_with_trials_of_another_study_is_refused(tmp_path: Path) -> None:
    run_search(search_of(tmp_path, budget=2))
    trials_folder = tmp_path / "trials"
    (trials_folder / "study.db").rename(tmp_path / "kept.db")
    before = contents(trials_folder)
    with pytest.raises(UserError, match="holds trials of a study that was deleted or renamed"):
        run_search(search_of(tmp_path, budget=4))
    after = contents(trials_folder)
    assert after.pop("study.db")
    assert after == before
    (tmp_path / "kept.db").replace(trials_folder / "study.db")
    run_search(search_of(tmp_path, budget=4))
    check_finished(tmp_path, 4)


def test_the_folder_of_a_trial_that_is_there_beforehand_is_left(tmp_path: Path) -> None:
    run_search(search_of(tmp_path, budget=1))
    mine = tmp_path / "trials" / "1"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="exists before trial 1 has started"):
        run_search(search_of(tmp_path, budget=2))
    assert contents(mine) == {"notes.txt": b"mine"}
    # The trial was put back, so that nothing of the budget is lost.
    run_search(search_of(tmp_path, budget=2))
    check_finished(tmp_path, 2)


@pytest.mark.parametrize("storage", ["sqlite", "journal"])
@pytest.mark.parametrize("name", ["what?x=1", "{SCHEMA_VERSION}", "100%", "a#b", "it's"])
def test_a_study_lies_in_its_folder_whatever_that_is_called(
    name: str, storage: str, tmp_path: Path
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    for _ in range(2):
        opened = open_storage(storage, folder)
        optuna.create_study(storage=opened, study_name="test", load_if_exists=True).ask()
    assert len(optuna.load_study(storage=opened, study_name="test").trials) == 2
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert list(folder.glob("study.*"))
