"""What fails the same way in every trial ends a search at once, and costs it nothing."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path
from unittest.mock import Mock

import pytest
from hydra.core.utils import JobReturn, JobStatus
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from compress.config.blame import Blame, blame, blamed
from compress.config.errors import UserError
from compress.search.batches import launch
from compress.search.front import Front
from compress.search.run import run_search, summary_lines
from compress.search.scheduler import Scheduler
from compress.search.storage import check_study, open_study
from compress.search.trial_store import TrialStore
from compress.search.trials import TrialCounts
from compress.search.worker_pool import exit_words
from tests.commands import refusal
from tests.search.engine import search_of
from tests.search.outcomes import check_finished, reasons, trials
from tests.search.test_sweeper import SEARCH, folders, here
from tests.search.trial_stores import GOALS, WIDE, TrialStores, die, finish, take_trial


@pytest.mark.parametrize("workers", [1, 2])
def test_a_fault_of_all_trials_ends_the_search_and_does_not_count(
    tmp_path: Path, workers: int
) -> None:
    broken = search_of(tmp_path, workers=workers, fixed=("fault=data",))
    for _ in range(2):
        with pytest.raises(UserError) as ended:
            run_search(broken)
        words = str(ended.value)
        assert words.startswith("every trial would fail as trial ")
        assert words.endswith(" did: there are no rows")
        assert trials(tmp_path) == []
    run_search(search_of(tmp_path, workers=workers))
    check_finished(tmp_path, 4)


def test_a_search_in_which_nothing_finishes_says_why_and_that_it_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search = search_of(tmp_path, budget=2, fixed=("fault=exception",))
    for _ in range(2):
        run_search(search)
        output = capsys.readouterr().out
        assert "2 failed: ValueError: broken on purpose" in output
        assert "No trial has finished. Failed trials use up the budget: " in output
    assert len(reasons(tmp_path)) == 2


def scheduler_of(folder: Path) -> Scheduler:
    """Of a search over x in a folder, with a mock trial store."""
    trial_store = Mock(spec=TrialStore, space=Mock(dimensions=[Mock(key="x")]))
    front = Mock(spec=Front, folder=folder, goals=GOALS, trial_store=trial_store)
    return Scheduler(front, Mock(), Mock())


def test_a_record_that_cannot_be_read_is_the_cause(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "metrics.json").write_text("{")
    scheduler = scheduler_of(tmp_path)
    assert not scheduler.end(Mock(number=0), None)
    [call] = scheduler.trial_store.fail.call_args_list
    assert "0/metrics.json is not valid JSON" in call.args[1]


@pytest.mark.parametrize(
    ("exit_code", "words"),
    [
        (-signal.SIGKILL, "its process was killed by SIGKILL; out of memory?"),
        (-signal.SIGSEGV, "its process was killed by SIGSEGV; a library that it calls crashed"),
        (-signal.SIGBUS, "its process was killed by SIGBUS; a library that it calls crashed"),
        (-signal.SIGABRT, "its process was killed by SIGABRT; a library that it calls crashed"),
        (-signal.SIGTERM, "its process was killed by SIGTERM"),
        (-40, "its process was killed by signal 40"),
        (3, "its process ended with exit code 3"),
        (0, "its process ended with exit code 0"),
        (None, "its process closed its connection and did not end"),
    ],
)
def test_every_end_of_a_worker_has_a_cause(exit_code: int | None, words: str) -> None:
    assert exit_words(exit_code) == words


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (UserError("x"), (("task",),)),
        (FileNotFoundError("x"), (("task",),)),
        (ModuleNotFoundError("x"), (("task",),)),
        (MemoryError("x"), ()),
        (ValueError("x"), ()),
    ],
)
def test_blame_is_laid_for_what_lasts(error: Exception, found: Blame) -> None:
    with pytest.raises(type(error)), blame("device"), blame("task"):
        raise error
    assert blamed(error) == found


def job(error: Exception | None) -> JobReturn:
    done = JobReturn()
    done.status = JobStatus.COMPLETED if error is None else JobStatus.FAILED
    done.return_value = error
    return done


def test_a_job_of_a_launcher_that_leaves_no_record_has_its_error_as_the_cause() -> None:
    launcher, scheduler = Mock(), Mock(spec=Scheduler)
    launcher.launch.return_value = [job(None), job(OSError("no space"))]
    taken_trials = [Mock(number=number, point={}) for number in range(2)]
    launch(scheduler, launcher, taken_trials, ())
    assert [call.args for call in scheduler.end.call_args_list] == [
        (taken_trials[0], None),
        (taken_trials[1], "OSError: no space"),
    ]
    launcher.launch.side_effect = RuntimeError("no cluster")
    scheduler.end.reset_mock()
    launch(scheduler, launcher, taken_trials, ())
    assert {call.args[1] for call in scheduler.end.call_args_list} == {
        "the launcher failed: RuntimeError: no cluster"
    }


def test_a_batch_is_written_down_before_a_fault_of_all_ends_the_search() -> None:
    launcher, scheduler = Mock(), Mock(spec=Scheduler)
    launcher.launch.return_value = [job(None)] * 3
    scheduler.end.side_effect = [UserError("no rows"), True, UserError("no rows either")]
    taken_trials = [Mock(number=number, point={}) for number in range(3)]
    with pytest.raises(UserError, match=r"no rows$"):
        launch(scheduler, launcher, taken_trials, ())
    assert scheduler.end.call_count == 3


def test_a_study_that_came_to_nothing_can_be_begun_with_other_settings(
    trial_store: TrialStores, storage: BaseStorage
) -> None:
    first = trial_store(budget=2)
    mended = {"space": str(WIDE), "task.path": "right"}

    def reopened(**others: str) -> str:
        study = open_study(storage, "test", GOALS, first.sampler, mended | others)
        return str(study.user_attrs["definition"])

    with pytest.raises(UserError, match="started with other settings"):
        reopened()  # it was begun a moment ago
    first.release(take_trial(first).number)
    with pytest.raises(UserError, match="started with other settings"):
        reopened()  # whose driver is at work
    first.leave()
    with pytest.raises(UserError, match="started with other settings"):
        reopened(**{"search.space.x": "choice(1, 2)"})  # of which its points may be none
    assert reopened() == str(mended)


def test_a_study_whose_driver_ended_before_any_trial_can_be_begun_with_other_settings(
    trial_store: TrialStores, storage: BaseStorage
) -> None:
    first = trial_store(budget=2)
    die(first)
    mended = {"space": str(WIDE), "task.path": "right"}
    check_study(storage, "test", mended)
    assert (
        open_study(storage, "test", GOALS, first.sampler, mended).user_attrs["definition"] == mended
    )


def test_a_search_is_checked_before_there_is_a_study(storage: BaseStorage) -> None:
    check_study(storage, "none", {"task.path": "any"})
    assert not storage.get_all_studies()


def test_a_study_with_a_trial_that_counts_cannot(
    trial_store: TrialStores, storage: BaseStorage
) -> None:
    first = trial_store(budget=2)
    finish(first, take_trial(first))
    die(first)
    with pytest.raises(UserError, match="started with other settings"):
        open_study(storage, "test", GOALS, first.sampler, {"space": "another"})
    with pytest.raises(UserError, match="started with other settings"):
        check_study(storage, "test", {"space": "another"})


def test_what_failed_before_it_was_mended_is_run_again(tmp_path: Path) -> None:
    """The driver died between a trial's record and its end in the study."""
    run_search(search_of(tmp_path, budget=1))
    # Of a lost trial there may be a record that says how it failed for all.
    taken = Mock(number=1, before=(0,), point={"x": "0.5"})
    record = tmp_path / "trials" / "0" / "metrics.json"
    raw = json.loads(record.read_text())
    kept = {key: raw[key] for key in ("schema", "started", "seconds", "seed", "choices")}
    failed = {"status": "failed", "error": "no rows", "overrides": [], "config": {}}
    record.write_text(json.dumps({**kept, **failed, "blame": [["task"]]}))
    scheduler = scheduler_of(tmp_path / "trials")
    scheduler.trial_store.take.return_value = taken
    assert scheduler.next() is taken


def test_last_words_tell_the_most_frequent_causes_first() -> None:
    front = Mock(folder=Path("search"))
    front.feasible.return_value = front.best.return_value = []
    front.trial_store.trial_counts.return_value = TrialCounts(
        complete=0, infeasible=1, failed=9, running=0, abandoned=0
    )
    front.trial_store.trials.return_value = [
        Mock(state=TrialState.FAIL, user_attrs={"reason": reason})
        for reason in ("b", *"aaa", *"cdefg")
    ]
    words = list(summary_lines(front))
    assert words[1:6] == ["3 failed: a", *(f"1 failed: {each}" for each in "bcde")]
    assert words[6:] == ["and 2 other reasons, in each trial's metrics.json"]


def write_rows(path: Path, label: str = "label") -> None:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", label])
        for number in range(120):
            rows.writerow([f"a {'good' if number % 2 else 'bad'} thing {number}", number % 2])


MENDED = ("quantizer=none,bf16", "pruner=none", "search.constraints=null")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("task.path={tmp}/rows.csv",), "rows.csv does not exist or is not a file"),
        pytest.param(
            ("task.path={tmp}/other.csv",), "column 'label' is not among its columns",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("task.path={tmp}/good.csv", "teacher=local", "teacher.path={tmp}/gone"),
            "gone is not a directory", marks=pytest.mark.slow,
        ),
        pytest.param(
            ("task.path={tmp}/good.csv", "cache.dir={tmp}/good.csv/cache"),
            "nothing can be written to", marks=pytest.mark.slow,
        ),
        pytest.param(
            ("task.path={tmp}/good.csv", "hydra.sweep.dir={tmp}/good.csv/search"),
            "Not a directory", marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_the_mended_command_runs_its_whole_budget(
    tmp_path: Path, wrong: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(tmp_path / "good.csv")
    write_rows(tmp_path / "other.csv", label="class")
    arguments = (*SEARCH, "task=csv", *MENDED, "hydra.sweeper.n_trials=2")
    given = [each.format(tmp=tmp_path) for each in wrong]
    line = refusal(*arguments, *folders(tmp_path), *given)
    assert line.startswith("error: ")
    assert message in line
    assert "\n" not in line
    assert capsys.readouterr().out == "dimensions of the search: quantizer\n", "no report"
    here(tmp_path, *arguments, f"task.path={tmp_path}/good.csv")
    front = json.loads((tmp_path / "search" / "front.json").read_text())
    assert (front["complete"], front["failed"]) == (2, 0)
