"""Searches as users start them: `python run.py -m +search=pareto …` on tiny models."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import optuna
import psutil
import pytest
from optuna.trial import TrialState

from compress.store.artifact import load
from tests.commands import refusal, run_here
from tests.configs import ROOT, TINY

SEARCH = ("-m", "+search=pareto", "student=none", "~search.space", *TINY)


def run(folder: Path, *arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    with begin(folder, *arguments) as process:
        output, errors = process.communicate(timeout=timeout)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def begin(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "run.py", *arguments, *folders(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def here(folder: Path, *arguments: str) -> None:
    """The same in this process, which has imported everything."""
    run_here(*arguments, *folders(folder))


def refused(folder: Path, *arguments: str) -> str:
    """What a search is refused with."""
    return refusal(*arguments, *folders(folder))


def folders(folder: Path) -> list[str]:
    return [f"hydra.sweep.dir={folder / 'search'}", f"cache.dir={folder / 'cache'}"]


def test_a_search_from_the_command_line(tmp_path: Path) -> None:
    space = ("pruner=none,heads", "pruner.sparsity=range(0.5,0.9,step=0.25)")
    arguments = (*SEARCH, *space, "search.constraints=null", "search.keep_artifacts=all")
    done = run(tmp_path, *arguments, "hydra.sweeper.n_trials=10")
    assert done.returncode == 0, done.stderr
    # none, and heads with 0.5 and 0.75: a setting is never given to a choice that lacks it.
    front = json.loads((tmp_path / "search" / "front.json").read_text())
    assert front["complete"] == 3
    assert front["failed"] == front["infeasible"] == 0
    assert "3 trials: 3 finished, 0 infeasible, 0 failed" in done.stdout
    # Which, depends on what the tiny models' times come to.
    assert re.search("Ship run |Keep the teacher|are too few to decide", done.stdout)
    records = sorted((tmp_path / "search").glob("[0-9]*/metrics.json"))
    assert len(records) == 3
    teachers = [
        stage["outcome"]
        for record in records
        for stage in json.loads(record.read_text())["stages"]
        if stage["name"] == "teacher"
    ]
    assert sorted(teachers) == ["cached"] * 2 + ["computed"]
    # What remakes a trial is the command that it names.
    command = front["front"][0]["command"].split()
    assert command[:3] == ["python", "run.py", "+search=pareto"]
    # The same command carries on, with another number of workers too; another space is refused.
    here(tmp_path, *arguments, "hydra.sweeper.n_trials=10", "search.workers=2")
    assert json.loads((tmp_path / "search" / "front.json").read_text())["complete"] == 3
    other = refused(tmp_path, *arguments, "quantizer=none,bf16", "hydra.sweeper.n_trials=10")
    assert "search.space.quantizer: absent before, choice(none, bf16) now" in other


def test_a_size_that_cannot_be_met_costs_no_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (*SEARCH, "quantizer=none,int8_dynamic", "pruner=none")
    bound = "+search.constraints.size_bytes='<= 1'"
    here(tmp_path, *arguments, bound, "hydra.sweeper.n_trials=2")
    assert "2 trials: 0 finished, 2 infeasible, 0 failed" in capsys.readouterr().out
    assert not (tmp_path / "cache").exists()


def test_a_task_without_accuracy_has_goals_of_its_own(tmp_path: Path) -> None:
    """Its trials, and their records, have the search's goals."""
    path = tmp_path / "numbers.csv"
    rows = [f"a film of {i} hours {'again ' * (i % 7)},{i % 7}" for i in range(80)]
    path.write_text("\n".join(["text,label", *rows]))
    goals = (
        "~search.objectives.accuracy", "+search.objectives.quality=maximize",
        "~search.constraints.accuracy", "+search.constraints.quality='>= baseline - 2'",
    )  # fmt: skip
    words = ("task=csv", f"task.path={path}", "task.problem=regression", "pruner=none")
    here(tmp_path, *SEARCH, *words, *goals, "quantizer=bf16,none", "hydra.sweeper.n_trials=1")
    front = json.loads((tmp_path / "search" / "front.json").read_text())
    assert (front["complete"], front["failed"]) == (1, 0)
    [record] = (tmp_path / "search").glob("[0-9]*/metrics.json")
    search = json.loads(record.read_text())["config"]["search"]
    assert set(search["objectives"]) == {"quality", "size_bytes", "speedup"}
    assert search["constraints"] == {"quality": ">= baseline - 2"}


def test_dimensions_of_the_file_that_no_choice_has_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A choice that the command line replaces may lack what the search's file asks of it."""
    words = ("pruner=none", "quantizer=bf16", "student=none", "hydra.sweeper.n_trials=1")
    here(tmp_path, "-m", "+search=pareto", *TINY, *words, "search.constraints=null")
    output = capsys.readouterr().out
    assert "left out: student.keep, which student=none does not have" in output
    assert "left out: pruner.sparsity, which pruner=none does not have" in output
    assert "left out: quantizer.embeddings, which quantizer=bf16 does not have" in output
    assert "1 trials: 1 finished" in output
    named = refused(tmp_path / "other", *SEARCH, "pruner=none", "pruner.sparsity=0.1,0.2")
    assert "search.space.pruner.sparsity: no choice of pruner among none has it" in named


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("+search.space={pruner.x: 'choice(1, 2)'}", "pruner=none,heads"), "no choice of pruner"),
        (("search.constraints.accuracy=much",), "search.constraints.accuracy must be such as"),
        (("search.sampler.name=cma",), "search.sampler.name must be one of"),
        (("search.workers=0",), "error: search.workers must be > 0, got 0"),
        (("search.keep_artifacts=some",), "keep_artifacts must be one of front, all; got some"),
        (("search.storage=here", "pruner=none,heads"), "search.storage must be sqlite"),
        (("hydra.sweeper.n_trials=0", "pruner=none,heads"), "n_trials must be an integer >= 1"),
        (("+search.worker=2", "pruner=none,heads"), "has no setting worker"),
        ((), "search.space has no dimension"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    line = refused(tmp_path, *SEARCH, *arguments)
    assert line.startswith("error: ")
    assert words in line
    assert "\n" not in line


def test_the_sweeper_needs_a_search(tmp_path: Path) -> None:
    done = run(tmp_path, "-m", "hydra/sweeper=pareto", *TINY)
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert line == "error: hydra/sweeper=pareto needs a search: +search=pareto"
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_search_that_is_killed_at_20_instants_ends_with_all_its_trials(tmp_path: Path) -> None:
    arguments = (
        *SEARCH,
        *("pruner=magnitude,wanda", "pruner.sparsity=0.2,0.4,0.6", "quantizer=none,bf16"),
        *("search.constraints=null", "search.keep_artifacts=all", "search.workers=2"),
        "hydra.sweeper.n_trials=12",
    )
    chance = random.Random(0)
    for _ in range(20):
        process = begin(tmp_path, *arguments)
        time.sleep(chance.uniform(3.0, 14.0))
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.communicate()
        assert not psutil.wait_procs(family, timeout=10)[1]
    done = run(tmp_path, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    study = optuna.load_study(
        study_name="pareto", storage=f"sqlite:///{tmp_path / 'search' / 'study.db'}"
    )
    complete = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    assert len(complete) == 12
    assert len({json.dumps(trial.user_attrs["point"]) for trial in complete}) == 12
    for trial in complete:
        assert load(Path(trial.user_attrs["folder"]) / "model") is not None
    # Neither a failure nor a thirteenth trial is hidden among those that count for nothing.
    assert not any("reason" in trial.user_attrs for trial in study.trials)
