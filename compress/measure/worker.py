"""Timing workers: one process per model, suspended while another one is timed.

In one process with another runtime a model would be timed against that runtime's threads, which go
on spinning after their work is done. A process that is suspended has none that run.

A worker answers one request at a time over a pipe. It ends when the pipe does: a process that was
killed leaves no workers behind. The one that is awake then ends the one that sleeps, which could
not notice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from jaxtyping import Int

from compress.config.errors import UserError
from compress.interfaces import Device
from compress.measure.timed import Columns, Failure, Inputs, serve
from compress.system.processes import process_context

# What takes long to import, and what `run.py` imports: the server that workers are forked from has
# it already, so that one starts in a fraction of a second. BERT's module brings in what all share.
PRELOADED = [
    "torch",
    "transformers.models.bert.modeling_bert",
    "transformers.models.bert.tokenization_bert",
    "compress.job",
    "compress.store.artifact",
    "compress.runtime.torch",
    "compress.device.cpu",
    "compress.measure.timed",
]
JOIN_SECONDS = 10.0  # to end in, before it is killed
KILLED = -9  # the exit code of a process that the system killed


class WorkerError(RuntimeError):
    """A worker failed or died; has the worker's message."""


class Worker:
    """Handle of a worker process, to be closed in any case."""

    def __init__(self, folder: Path, device: Device) -> None:
        """Starts the process, which loads the model; `load` waits for that."""
        context = process_context(PRELOADED)
        self._folder = folder
        self._connection, theirs = context.Pipe()
        on = (device.torch_device, device.thread_count(), device.meter)
        arguments = (theirs, str(folder.absolute()), *on)
        self._process = context.Process(  # type: ignore[attr-defined]
            target=serve, args=arguments, daemon=True
        )
        self._process.start()
        # Held by the worker alone, so that reading ends when the worker does.
        theirs.close()
        self._send("load")

    @property
    def pid(self) -> int:
        """The process id."""
        number: int = self._process.pid
        return number

    def load(self) -> None:
        """Waits until the model is loaded."""
        self._receive()

    def set_peer(self, other: Worker) -> None:
        """Makes this worker kill the other if this process is killed."""
        self._ask("set_peer", other.pid)

    def prepare(self, inputs: Inputs, seconds: float) -> float:
        """Warms up until the time settles, at most `seconds`; returns milliseconds per pass."""
        milliseconds: float = self._ask("prepare", dict(inputs), seconds)
        return milliseconds

    def time_block(self, passes: int) -> list[float]:
        """Milliseconds of consecutive passes over the prepared batch."""
        times: list[float] = self._ask("time_block", passes)
        return times

    def tokenize(self, batches: Sequence[Columns], max_length: int, seconds: float) -> list[float]:
        """Milliseconds to tokenize each of several batches of texts, as often as time allows."""
        times: list[float] = self._ask("tokenize", batches, max_length, seconds)
        return times

    def generate(self, tokens: Int[np.ndarray, "1 L"], count: int) -> tuple[float, float]:
        """Milliseconds to the first of `count` tokens, and the mean for each after it."""
        written: tuple[float, float] = self._ask("generate", tokens, count)
        return written

    def resident_memory(self, inputs: Inputs) -> int | None:
        """Bytes of the model after a pass; None if the system does not report them."""
        resident: int | None = self._ask("resident_memory", dict(inputs))
        return resident

    def peak_memory(self, inputs: Inputs) -> int | None:
        """Peak bytes while running a batch, with the model; None where it cannot be measured."""
        peak: int | None = self._ask("peak_memory", dict(inputs))
        return peak

    def suspend(self) -> None:
        """Suspends the process until `resume`."""
        self._signal(psutil.Process.suspend)

    def resume(self) -> None:
        """Resumes the process."""
        self._signal(psutil.Process.resume)

    def close(self) -> None:
        """Ends the process, suspended or not."""
        with suppress(OSError):
            self._connection.send(None)
        self._connection.close()
        with suppress(psutil.Error):
            psutil.Process(self.pid).resume()
        self._process.join(JOIN_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()

    def _signal(self, send: Callable[[psutil.Process], None]) -> None:
        try:
            send(psutil.Process(self.pid))
        except psutil.NoSuchProcess as error:
            raise WorkerError(self._exit_message()) from error

    def _ask(self, request: str, *arguments: Any) -> Any:
        self._send(request, *arguments)
        return self._receive()

    def _send(self, request: str, *arguments: Any) -> None:
        # A dead worker is reported by the next receive.
        with suppress(OSError):
            self._connection.send((request, arguments))

    def _receive(self) -> Any:
        try:
            answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise WorkerError(self._exit_message()) from error
        if isinstance(answer, Failure):
            raise (UserError if answer.by_user else WorkerError)(answer.text)
        return answer

    def _exit_message(self) -> str:
        self._process.join(JOIN_SECONDS)
        code = self._process.exitcode
        reason = "out of memory?" if code == KILLED else "see above"
        return f"the process that timed {self._folder} died with exit code {code} ({reason})"


class Pair:
    """Two loaded workers, one running and one suspended."""

    def __init__(self, workers: tuple[Worker, Worker]) -> None:
        """Waits until both have loaded, and suspends the second."""
        self._workers = workers
        workers[0].load()
        workers[1].load()
        workers[0].set_peer(workers[1])
        workers[1].set_peer(workers[0])
        workers[1].suspend()
        self._awake = 0

    def wake(self, which: int) -> Worker:
        """Resumes the worker of that index and suspends the other."""
        if which != self._awake:
            # In this order one is awake at any time, to notice if this process is killed.
            self._workers[which].resume()
            self._workers[self._awake].suspend()
            self._awake = which
        return self._workers[which]


@contextmanager
def open_pair(folders: tuple[Path, Path], device: Device) -> Iterator[Pair]:
    """Fresh processes for two model folders, ended when the block is left.

    Raises:
        UserError: a folder cannot be loaded.
        WorkerError: a process failed or died.
    """
    with ExitStack() as stack:
        opened = [stack.enter_context(closing(Worker(f, device))) for f in folders]
        yield Pair((opened[0], opened[1]))
