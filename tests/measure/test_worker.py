from __future__ import annotations

import shutil
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from compress.config.errors import UserError
from compress.device.cpu import Cpu
from compress.interfaces import CompressedModel
from compress.measure.worker import Worker, WorkerError, open_pair

INPUTS = {"input_ids": np.ones((2, 8), dtype=np.int64)}
SLEEPS = psutil.STATUS_STOPPED


def folder_of(model: CompressedModel) -> Path:
    assert model.folder is not None
    return model.folder


def test_a_worker_loads_times_and_weighs(device: Cpu, teacher: CompressedModel) -> None:
    folder = folder_of(teacher)
    with closing(Worker(folder, device)) as worker:
        weights = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
        worker.load()
        pid = worker.pid
        resident = worker.resident_memory(INPUTS)
        milliseconds = worker.prepare(INPUTS, 0.1)
        times = worker.time_block(5)
        peak = worker.peak_memory({"input_ids": np.ones((64, 32), dtype=np.int64)})
    assert resident is not None
    assert peak is not None
    assert weights < resident < peak
    assert len(times) == 5
    assert milliseconds / 10 < np.median(times) < milliseconds * 10
    assert not psutil.pid_exists(pid)


def test_only_one_of_a_pair_is_awake_and_none_stays(device: Cpu, teacher: CompressedModel) -> None:
    folder = folder_of(teacher)
    states, processes = [], []
    with suppress(KeyError), open_pair((folder, folder), device) as pair:
        processes = [psutil.Process(worker.pid) for worker in pair._workers]
        for which in (0, 1, 1, 0):
            pair.wake(which).prepare(INPUTS, 0.01)
            # On a busy machine a signal takes effect when its process is next scheduled.
            deadline = time.monotonic() + 10
            while processes[1 - which].status() != SLEEPS and time.monotonic() < deadline:
                time.sleep(0.01)
            states.append([process.status() == SLEEPS for process in processes])
        raise KeyError
    assert states == [[False, True], [True, False], [True, False], [False, True]]
    assert not any(process.is_running() for process in processes)


@pytest.mark.parametrize("which", [0, 1])
def test_a_worker_that_is_killed_is_an_error(
    device: Cpu, which: int, teacher: CompressedModel
) -> None:
    folder = folder_of(teacher)
    reason = rf"timed {folder} died with exit code -9 \(out of memory\?\)"
    with open_pair((folder, folder), device) as pair:
        process = psutil.Process(pair._workers[which].pid)
        process.kill()
        psutil.wait_procs([process], timeout=5)
        with pytest.raises(WorkerError, match=reason):
            pair.wake(which).prepare(INPUTS, 0.01)


def test_errors_come_back_as_what_they_are(
    device: Cpu, teacher: CompressedModel, tmp_path: Path
) -> None:
    with (
        pytest.raises(UserError, match=r"is not a compress model folder: it has no manifest\.json"),
        closing(Worker(tmp_path, device)) as worker,
    ):
        worker.load()
    damaged = tmp_path / "damaged"
    shutil.copytree(folder_of(teacher), damaged)
    (damaged / "config.json").write_text("{}")
    with (
        pytest.raises(UserError, match=r"config\.json is damaged: its SHA-256"),
        closing(Worker(damaged, device)) as worker,
    ):
        worker.load()
    with closing(Worker(folder_of(teacher), device)) as worker:
        worker.load()
        with pytest.raises(WorkerError, match=r"(?s)exactly one of input_ids.*Traceback"):
            worker.prepare({"words": INPUTS["input_ids"]}, 0.01)
        assert worker.prepare(INPUTS, 0.01) > 0


ABANDON = """
import multiprocessing, os, signal, psutil
from compress.device.cpu import HostMeter
from compress.measure.timed import serve

context = multiprocessing.get_context("forkserver")
made = []
for _ in range(2):
    ours, theirs = context.Pipe()
    on = "cpu", 1, HostMeter
    process = context.Process(target=serve, args=(theirs, "", *on), daemon=True)
    process.start()
    theirs.close()
    made.append((ours, process))
for (ours, _), (_, other) in zip(made, reversed(made)):
    ours.send(("set_peer", (other.pid,)))
    assert ours.recv() is None
psutil.Process(made[1][1].pid).suspend()
print(*(process.pid for _, process in made), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_do_not_outlive_a_process_that_is_killed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ABANDON], stdout=subprocess.PIPE, text=True, timeout=60
    )
    pids = [int(word) for word in done.stdout.split()]
    assert len(pids) == 2
    deadline = time.monotonic() + 10
    while any(runs(pid) for pid in pids):
        assert time.monotonic() < deadline, [psutil.Process(pid) for pid in pids if runs(pid)]
        time.sleep(0.02)


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
