"""The worker processes of a search, as its driver sees them.

Each worker is the leader of a process group, so that it can be held, let go or killed together with
all processes that it has started. A guard, a process of its own, kills the groups if the driver is
killed: a worker that is held could not notice.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from compress.search.job import Outcome, Setup, serve
from compress.search.reporter import JobSpec
from compress.search.trials import TakenTrial
from compress.system.processes import process_context

JOIN_SECONDS = 5.0


@dataclass(frozen=True)
class WorkerExit:
    """A worker's end in the middle of a trial."""

    exit_code: int | None

    def __str__(self) -> str:
        """In words: the signal's name where it was one."""
        if self.exit_code is None:
            return "its process closed its connection and did not end"
        if self.exit_code >= 0:
            return f"its process ended with exit code {self.exit_code}"
        number = -self.exit_code
        known = {each.value: each.name for each in signal.Signals}
        return f"its process was killed by {known.get(number, f'signal {number}')}{hint(number)}"


def hint(number: int) -> str:
    """What a signal that killed a process mostly means; "" where that is not known."""
    match number:
        case signal.SIGKILL:
            return "; out of memory?"
        case signal.SIGSEGV | signal.SIGBUS | signal.SIGABRT | signal.SIGILL | signal.SIGFPE:
            return "; a library that it calls crashed"
    return ""


@dataclass
class Worker:
    """One worker.

    Attributes:
        place: from 0; a worker that replaces another takes its place.
        taken: the trial that it runs; None if it is idle.
        stage: of the trial, and `step` of its training, as done and all.
        waits_to_measure: whether it waits to measure, and `measuring` whether it does.
        seconds: that it has worked on the trial; time in which it was held does not count.
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
    held: bool = False
    _since: float = 0.0
    _before: float = 0.0

    @property
    def pid(self) -> int:
        """The process's number, and its group's."""
        assert self.process.pid is not None, "it was started"
        return self.process.pid

    @property
    def seconds(self) -> float:
        """See the class."""
        now = 0.0 if self.held else time.monotonic() - self._since
        return self._before + now

    def begin(self, taken: TakenTrial, spec: JobSpec) -> None:
        """Has it run a trial."""
        self.taken, self.stage, self.step = taken, "starting", None
        self._since, self._before = time.monotonic(), 0.0
        self.send(spec)

    def end(self) -> None:
        """Notes that its trial is over."""
        self.taken, self.step, self.stage = None, None, ""
        self.waits_to_measure = self.measuring = False

    def send(self, message: JobSpec | str | None) -> None:
        """Sends it a message; one that has died is noticed when it is listened to."""
        with suppress(OSError):
            self.connection.send(message)

    def pause(self) -> None:
        """Stops all its processes until `resume`."""
        if not self.held and self._signal(signal.SIGSTOP):
            self._before, self.held = self.seconds, True

    def resume(self) -> None:
        """Lets them go on."""
        if self.held:
            self._signal(signal.SIGCONT)
            self._since, self.held = time.monotonic(), False

    def kill(self) -> None:
        """Ends all its processes at once."""
        if not self._signal(signal.SIGKILL):
            self.process.kill()
        self.process.join()
        self.connection.close()

    def close(self) -> None:
        """Ends it in good order; it is idle."""
        self.send(None)
        self.process.join(JOIN_SECONDS)
        self.kill()

    def _signal(self, number: signal.Signals) -> bool:
        """Sends it to the group; says whether there was one."""
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True


@dataclass
class WorkerPool:
    """All workers of a driver. Use `open_worker_pool`, which ends them whatever happens."""

    setup: Setup
    size: int
    guard: Connection
    workers: list[Worker] = field(default_factory=list)

    def fill(self) -> None:
        """Starts workers in the places that are empty."""
        taken = {worker.place for worker in self.workers}
        for place in sorted(set(range(self.size)) - taken):
            self._start(place, serve)

    def _start(self, place: int, target: Callable[[Connection, Setup, int], None]) -> None:
        ours, theirs = multiprocessing.Pipe()
        process = process_context(self.setup.preload).Process(  # type: ignore[attr-defined]
            target=target, args=(theirs, self.setup, place)
        )
        process.start()
        # Held by the worker alone, so that reading ends when the worker does.
        theirs.close()
        self.workers.append(Worker(place, process, ours))
        self._update_guard()

    def idle(self) -> list[Worker]:
        """Those that can take a trial."""
        return [worker for worker in self.workers if worker.ready and worker.taken is None]

    def all_ready(self) -> bool:
        """Whether every place has a worker that can take a trial, or runs one."""
        return len(self.workers) == self.size and all(worker.ready for worker in self.workers)

    def busy(self) -> list[Worker]:
        """Those that run one."""
        return [worker for worker in self.workers if worker.taken is not None]

    def receive(self, seconds: float) -> Iterator[tuple[Worker, str | Outcome | WorkerExit]]:
        """What workers have to say, as far as it concerns the driver, within some time."""
        # Its sentinel too: a process that the worker started may hold its connection open.
        watched = [end for w in self.workers for end in (w.connection, w.process.sentinel)]
        stirred = wait(watched, seconds)
        for worker in list(self.workers):
            if worker.connection not in stirred and worker.process.sentinel not in stirred:
                continue
            try:
                if not worker.connection.poll():
                    raise EOFError
                kind, content = worker.connection.recv()
            except (EOFError, OSError):
                worker.process.join(JOIN_SECONDS)
                yield worker, WorkerExit(worker.process.exitcode)
                continue
            match kind:
                case "stage":
                    worker.stage, worker.step = content, None
                case "step":
                    worker.step = content
                case "done":
                    yield worker, content
                case _:
                    yield worker, kind

    def schedule_measurements(self) -> None:
        """Lets one worker that wants to measure do so, with all others held."""
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
        """Ends a worker that is idle; `fill` puts another one in its place."""
        worker.close()
        self.workers.remove(worker)
        self._update_guard()

    def kill(self, worker: Worker) -> None:
        """Kills a worker, likewise."""
        worker.kill()
        self.workers.remove(worker)
        self._update_guard()

    def close(self) -> None:
        """Ends all workers: those that are idle in good order, the others at once."""
        for worker in list(self.workers):
            worker.resume()
            if worker.taken is None and worker.ready:
                worker.close()
                self.workers.remove(worker)
            else:
                self.kill(worker)

    def _update_guard(self) -> None:
        """Tells the guard which groups there are."""
        with suppress(OSError):
            self.guard.send([worker.pid for worker in self.workers])


@contextmanager
def open_worker_pool(setup: Setup, size: int) -> Iterator[WorkerPool]:
    """A worker pool without workers yet; all are ended when the block is left."""
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
    """Kills the groups that it was told of last, once the driver is gone without a word."""
    os.setsid()
    groups: list[int] = []
    try:
        while (told := connection.recv()) is not None:
            groups = told
    except (EOFError, OSError):
        for group in groups:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
