"""Searches that are killed, stopped, or shared, in processes of their own."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from optuna.trial import TrialState

from compress.search.run import run_search
from tests.configs import ROOT
from tests.search.engine import search_of
from tests.search.outcomes import check_finished, reasons, trials


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


def ended(process: subprocess.Popen[str], code: int = 0, timeout: float = 60) -> str:
    """What a process has printed at its end, which has this exit code."""
    output, _ = process.communicate(timeout=timeout)
    assert process.returncode == code, output
    return output


def below(process: subprocess.Popen[str]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def gone(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=10)
    return not alive


@pytest.mark.parametrize(
    ("budget", "instants"),
    [
        (8, [0.3]),
        pytest.param(
            40, [random.Random(i).uniform(0, 3) for i in range(20)], marks=pytest.mark.slow
        ),
    ],
)
def test_a_driver_that_is_killed_is_carried_on(
    tmp_path: Path, budget: int, instants: list[float]
) -> None:
    options = (f"budget={budget}", "workers=2", "fixed=[seconds=0.2]")
    for seconds in instants:
        process = start(tmp_path, *options)
        wait_for(tmp_path, 3)
        time.sleep(seconds)
        family = below(process)
        process.kill()
        process.communicate()
        assert gone(family)
    assert sum(trial.state == TrialState.COMPLETE for trial in trials(tmp_path)) < budget
    ended(start(tmp_path, *options))
    check_finished(tmp_path, budget)


def test_ctrl_c_stops_before_the_next_stage(tmp_path: Path) -> None:
    process = start(tmp_path, "budget=8", "workers=2", "fixed=[seconds=0.4]")
    wait_for(tmp_path, 2)
    family = below(process)
    process.send_signal(signal.SIGINT)
    output = ended(process, code=1, timeout=20)
    assert "stopped: it was interrupted. The same command resumes" in output
    assert gone(family)
    # What was running left nothing behind, and is run again.
    found = trials(tmp_path)
    assert {trial.state for trial in found} <= {TrialState.COMPLETE}
    assert len(found) < 8
    folders = {int(path.name) for path in (tmp_path / "trials").glob("[0-9]*")}
    assert folders == {trial.number for trial in found}
    run_search(search_of(tmp_path, budget=8, workers=2, fixed=("seconds=0.0",)))
    check_finished(tmp_path, 8)


@pytest.mark.slow
def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    process = start(
        tmp_path, "budget=4", "space={x: 'range(0.1, 0.9, step=0.1)'}", "fixed=[fault=hang]"
    )
    wait_for(tmp_path, 1)
    family = below(process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert "The same command resumes" in ended(process, code=1, timeout=20)
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
        options = ("budget=40", "space={x: 'interval(0.1, 0.9)'}")
        output = ended(start(place, *options), code=1)
        assert "command resumes" in output or "No space left" in output
        before = sum(trial.state == TrialState.COMPLETE for trial in trials(place))
        subprocess.run(["mount", "-o", "remount,size=32m", str(place)], check=True)
        ended(start(place, *options))
        assert 0 < before < 40
        assert len(trials(place)) == 40
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.slow
def test_two_drivers_share_one_search(tmp_path: Path) -> None:
    processes = [start(tmp_path, "budget=8", "fixed=[seconds=0.1]") for _ in range(2)]
    for process in processes:
        ended(process)
    check_finished(tmp_path, 8)
    drivers = {trial.user_attrs["driver"] for trial in trials(tmp_path)}
    assert len(drivers) == 2


@pytest.mark.slow
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
    ended(process)
    assert len(trials(tmp_path)) == 6
    assert all("SIGKILL" in reason for reason in reasons(tmp_path))
    assert 1 <= len(reasons(tmp_path)) <= 3


def _is_worker(group: int, process: subprocess.Popen[str]) -> bool:
    """Whether a group is a worker's, and not the guard's."""
    return any(p.pid == group and p.num_fds() > 0 for p in below(process))
