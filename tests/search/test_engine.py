from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import psutil
import pytest
from optuna.trial import FrozenTrial, TrialState

from compress.records import read_record
from compress.search.crew import Crew
from compress.search.limits import Limits
from compress.search.run import run_search
from compress.settings import UserError
from tests.conftest import ROOT
from tests.search.engine import search_of

FAULTS = {"fault": "choice(none, {})", "x": "choice(0.4, 0.6)"}


def trials(folder: Path) -> list[FrozenTrial]:
    """The trials of a search that count."""
    study = optuna.load_study(
        study_name="test", storage=f"sqlite:///{folder / 'trials' / 'study.db'}"
    )
    void = (t for t in study.trials if t.state == TrialState.FAIL and "reason" not in t.user_attrs)
    numbers = {trial.number for trial in void}
    return [trial for trial in study.trials if trial.number not in numbers]


def reasons(folder: Path) -> list[str]:
    return [t.user_attrs["reason"] for t in trials(folder) if t.state == TrialState.FAIL]


def check_finished(folder: Path, count: int) -> None:
    """That so many trials are complete, none twice, each with its folder and record."""
    found = trials(folder)
    assert [trial.state for trial in found] == [TrialState.COMPLETE] * count
    assert len({json.dumps(trial.user_attrs["point"]) for trial in found}) == count
    for trial in found:
        place = Path(trial.user_attrs["folder"])
        assert read_record(place / "metrics.json").status == "ok"
        weights = float((place / "model" / "weights").read_text())
        assert weights == pytest.approx(float(trial.params["x"]))


def is_gone(pid: int) -> bool:
    """Whether a process has ended, though nobody may have asked how."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def children() -> set[int]:
    """Processes that this one started, but for the server that workers are forked from."""
    return {each.pid for each in psutil.Process().children(recursive=True)}


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
        ("exit", "SystemExit"),
        ("kill", "killed by SIGKILL"),
        ("memory", "MemoryError"),
        ("child", "killed by SIGKILL"),
    ],
)
def test_a_trial_that_breaks_costs_no_other(tmp_path: Path, fault: str, words: str) -> None:
    space = {name: text.format(fault) for name, text in FAULTS.items()}
    run_search(search_of(tmp_path, space=space, budget=4, sampler="grid"))
    assert [trial.state for trial in trials(tmp_path)].count(TrialState.COMPLETE) == 2
    assert len(reasons(tmp_path)) == 2
    assert all(words in reason for reason in reasons(tmp_path))
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


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    """A search in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.search.engine", str(folder), *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def below(process: subprocess.Popen[str]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def gone(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=10)
    return not alive


@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_a_driver_that_is_killed_is_carried_on(tmp_path: Path, kills: int) -> None:
    options = ("budget=12", "workers=2", "fixed=[seconds=0.2]")
    chance = random.Random(0)
    for _ in range(kills):
        process = start(tmp_path, *options)
        time.sleep(chance.uniform(1.5, 4.5))
        family = below(process)
        process.kill()
        process.communicate()
        assert gone(family)
    process = start(tmp_path, *options)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    check_finished(tmp_path, 12)


def test_ctrl_c_stops_before_the_next_stage(tmp_path: Path) -> None:
    process = start(tmp_path, "budget=8", "workers=2", "fixed=[seconds=0.4]")
    wait_for(tmp_path, 2)
    family = below(process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "stopped: it was interrupted. The same command carries on" in output
    assert gone(family)
    # What was running left nothing behind, and is run again.
    found = trials(tmp_path)
    assert {trial.state for trial in found} <= {TrialState.COMPLETE}
    assert len(found) < 8
    folders = {int(path.name) for path in (tmp_path / "trials").glob("[0-9]*")}
    assert folders == {trial.number for trial in found}
    run_search(search_of(tmp_path, budget=8, workers=2, fixed=("seconds=0.0",)))
    check_finished(tmp_path, 8)


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    process = start(
        tmp_path, "budget=4", "space={x: 'range(0.1, 0.9, step=0.1)'}", "fixed=[fault=hang]"
    )
    wait_for(tmp_path, 1)
    family = below(process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert "carries on" in output
    assert gone(family)
    assert trials(tmp_path) == []


def wait_for(folder: Path, count: int) -> None:
    """Waits until so many trials have begun."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if len(list((folder / "trials").glob("[0-9]*/.hydra"))) >= count:
            return
        time.sleep(0.05)
    raise AssertionError("the search did not begin")


@pytest.mark.slow
def test_a_full_disk_stops_the_search_and_it_can_be_carried_on(tmp_path: Path) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=640k", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        process = start(place, "budget=40", "space={x: 'interval(0.1, 0.9)'}")
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "carries on" in output or "No space left" in output
        before = sum(trial.state == TrialState.COMPLETE for trial in trials(place))
        subprocess.run(["mount", "-o", "remount,size=32m", str(place)], check=True)
        process = start(place, "budget=40", "space={x: 'interval(0.1, 0.9)'}")
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
        assert 0 < before < 40
        assert len(trials(place)) == 40
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_two_drivers_share_one_search(tmp_path: Path) -> None:
    processes = [start(tmp_path, "budget=8", "fixed=[seconds=0.1]") for _ in range(2)]
    for process in processes:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
    check_finished(tmp_path, 8)
    owners = {trial.user_attrs["owner"] for trial in trials(tmp_path)}
    assert len(owners) == 2


@pytest.fixture(autouse=True)
def _no_leftovers() -> Iterator[None]:
    yield
    assert not [p for p in psutil.Process().children() if p.status() == psutil.STATUS_STOPPED]


def test_workers_that_are_killed_are_replaced(tmp_path: Path) -> None:
    process = start(tmp_path, "budget=6", "workers=2", "fixed=[seconds=0.3]")
    wait_for(tmp_path, 2)
    killed = 0
    while process.poll() is None and killed < 3:
        groups = {os.getpgid(p.pid) for p in below(process) if p.is_running()}
        groups -= {os.getpgid(process.pid)}
        place = random.Random(killed).choice(sorted(groups)) if groups else None
        if place is not None and _is_worker(place, process):
            os.killpg(place, signal.SIGKILL)
            killed += 1
        time.sleep(0.7)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert len(trials(tmp_path)) == 6
    assert all("SIGKILL" in reason for reason in reasons(tmp_path))
    assert 1 <= len(reasons(tmp_path)) <= 3


def _is_worker(group: int, process: subprocess.Popen[str]) -> bool:
    """Whether a group is a worker's, and not the guard's."""
    return any(p.pid == group and p.num_fds() > 0 for p in below(process))


def test_a_worker_that_cannot_start_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Crew, "fill", _broken_fill)
    with pytest.raises(UserError, match="a worker did not start: its process ended"):
        run_search(search_of(tmp_path))


def _broken_fill(self: Crew) -> None:
    whole = Crew.__dict__["_start"]
    if not self.workers:
        whole(self, 0, _exit)


def _exit(*_: object) -> None:
    sys.exit(7)
