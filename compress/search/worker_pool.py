"""The worker processes of a search, as its driver sees them.

Each worker leads a process group, so that it can be paused, resumed or killed together with all
processes that it has started. A guard process kills the groups if the driver is killed: a paused
worker could not notice.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from compress.search.job import Setup, serve
from compress.search.reporter import JobSpec
from compress.search.trials import TakenTrial
from compress.system.processes import process_context

JOIN_SECONDS = 5.0
CRASHED = ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE")
HINTS = {
    "SIGKILL": "; out of memory?",
    **dict.fromkeys(CRASHED, "; a library that it calls crashed"),
}


def exit_words(exit_code: int | None) -> str:
    """How a process ended in the middle of a trial, with the usual cause of a signal."""
    if exit_code is None:
        return "its process closed its connection and did not end"
    if exit_code >= 0:
        return f"its process ended with exit code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    return f"its process was killed by {name}{HINTS.get(name, '')}"


@dataclass
class Worker:
    """A worker process.

    Attributes:
        place: index from 0; a replacement worker gets the index of the one it replaces.
        taken: the trial that it runs; None if it is idle.
        stage: current stage of the trial; `step` is the (done, total) steps of its training.
        waits_to_measure: whether it waits for its turn; `measuring` is whether it has it.
        seconds: time spent on the trial, pauses excluded.
    """

    place: int
    process: BaseProcess
    connection: Connection
    ready: bool = False
    taken: TakenTrial | None = None
    stage: str = ""
    step: tuple[int, int] | None = None
    waits_to_measure: bool = False
    measuring: bool = False
    paused: bool = False
    _since: float = 0.0
    _before: float = 0.0

    @property
    def pid(self) -> int:
        """Process number, which is also that of its group."""
        assert self.process.pid is not None, "it was started"
        return self.process.pid

    @property
    def seconds(self) -> float:
        """Seconds spent on the trial, pauses excluded."""
        now = 0.0 if self.paused else time.monotonic() - self._since
        return self._before + now

    def begin(self, taken: TakenTrial, spec: JobSpec) -> None:
        """Starts a trial on the worker."""
        self.taken, self.stage, self.step = taken, "starting", None
        self._since, self._before = time.monotonic(), 0.0
        self.send(spec)

    def end(self) -> None:
        """Resets the state of the worker after its trial."""
        self.taken, self.step, self.stage = None, None, ""
        self.waits_to_measure = self.measuring = False

    def send(self, message: JobSpec | str | None) -> None:
        """Sends a message; a dead worker is noticed by `receive`."""
        with suppress(OSError):
            self.connection.send(message)

    def pause(self) -> None:
        """Stops the processes of the worker until `resume`."""
        if not self.paused and self._signal(signal.SIGSTOP):
            self._before, self.paused = self.seconds, True

    def resume(self) -> None:
        """Continues the processes of the worker."""
        if self.paused:
            self._signal(signal.SIGCONT)
            self._since, self.paused = time.monotonic(), False

    def kill(self) -> None:
        """Kills the processes of the worker."""
        if not self._signal(signal.SIGKILL):
            self.process.kill()
        self.process.join()
        self.connection.close()

    def close(self) -> None:
        """Shuts an idle worker down."""
        self.send(None)
        self.process.join(JOIN_SECONDS)
        self.kill()

    def _signal(self, number: signal.Signals) -> bool:
        """Sends a signal to the process group; returns whether the group exists."""
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True


@dataclass
class WorkerPool:
    """The workers of a driver. Use `open_worker_pool`, which always shuts them down."""

    setup: Setup
    size: int
    guard: Connection
    workers: list[Worker] = field(default_factory=list)

    def fill(self) -> None:
        """Starts the missing workers."""
        taken = {worker.place for worker in self.workers}
        for place in sorted(set(range(self.size)) - taken):
            ours, theirs = multiprocessing.Pipe()
            process = process_context(self.setup.preload).Process(  # type: ignore[attr-defined]
                target=serve, args=(theirs, self.setup, place)
            )
            process.start()
            # Only the worker keeps this end open, so that reading ends when the worker does.
            theirs.close()
            self.workers.append(Worker(place, process, ours))
            self._update_guard()

    def idle(self) -> list[Worker]:
        """Workers that can take a trial."""
        return [worker for worker in self.workers if worker.ready and worker.taken is None]

    def all_ready(self) -> bool:
        """Whether all workers are running and have finished starting."""
        return len(self.workers) == self.size and all(worker.ready for worker in self.workers)

    def busy(self) -> list[Worker]:
        """Workers that run a trial."""
        return [worker for worker in self.workers if worker.taken is not None]

    def receive(self, seconds: float) -> Iterator[tuple[Worker, str, Any]]:
        """Messages of workers by kind within some seconds; "exit" with how a process ended."""
        # Its sentinel too: a process that the worker started may hold its connection open.
        watched = [end for w in self.workers for end in (w.connection, w.process.sentinel)]
        signaled = wait(watched, seconds)
        for worker in list(self.workers):
            if worker.connection not in signaled and worker.process.sentinel not in signaled:
                continue
            try:
                if not worker.connection.poll():
                    raise EOFError
                kind, content = worker.connection.recv()
            except (EOFError, OSError):
                worker.process.join(JOIN_SECONDS)
                kind, content = "exit", exit_words(worker.process.exitcode)
            yield worker, kind, content

    def schedule_measurements(self) -> None:
        """Lets one waiting worker measure, with all others paused."""
        if any(worker.measuring for worker in self.workers):
            return
        for worker in self.workers:
            worker.resume()
        waiting = [worker for worker in self.workers if worker.waits_to_measure]
        if waiting:
            first = waiting[0]
            for other in self.workers:
                if other is not first:
                    other.pause()
            first.waits_to_measure, first.measuring, first.stage = False, True, "measure"
            first.send("go")

    def replace(self, worker: Worker) -> None:
        """Shuts an idle worker down; `fill` starts its replacement."""
        worker.close()
        self.workers.remove(worker)
        self._update_guard()

    def kill(self, worker: Worker) -> None:
        """Kills a worker; `fill` starts its replacement."""
        worker.kill()
        self.workers.remove(worker)
        self._update_guard()

    def close(self) -> None:
        """Shuts idle workers down and kills the others."""
        for worker in list(self.workers):
            worker.resume()
            if worker.taken is None and worker.ready:
                self.replace(worker)
            else:
                self.kill(worker)

    def _update_guard(self) -> None:
        with suppress(OSError):
            self.guard.send([worker.pid for worker in self.workers])


@contextmanager
def open_worker_pool(setup: Setup, size: int) -> Iterator[WorkerPool]:
    """An empty worker pool; its workers are shut down at the end of the block."""
    ours, theirs = multiprocessing.Pipe()
    guard = process_context(setup.preload).Process(target=_guard, args=(theirs,), daemon=True)  # type: ignore[attr-defined]
    guard.start()
    theirs.close()
    worker_pool = WorkerPool(setup, size, ours)
    try:
        yield worker_pool
    finally:
        worker_pool.close()
        with suppress(OSError):
            ours.send(None)
        guard.join(JOIN_SECONDS)
        ours.close()


def _guard(connection: Connection) -> None:
    """Kills the latest list of process groups if the driver's connection breaks."""
    os.setsid()
    groups: list[int] = []
    try:
        while (received := connection.recv()) is not None:
            groups = received
    except (EOFError, OSError):
        for group in groups:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
