"""The worker's side of timing: a model in the separate process that `worker` starts."""

from __future__ import annotations

import gc
import itertools
import signal
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import psutil
from jaxtyping import Shaped

from compress.config.errors import UserError

if TYPE_CHECKING:
    from compress.core.meter import Meter
    from compress.interfaces import InferenceModel

SETTLED = 0.03  # warm: two windows in a row have medians this close
WINDOW_SECONDS = 0.05
MAX_WINDOW = 50
FIRST_TOKENIZED = 2  # passes that read the tokenizer's tables and start its threads
LEAST_TOKENIZED, MOST_TOKENIZED = 5, 500  # passes that are timed
WEIGHED_PASSES = 10  # OpenVINO compiles a graph for a shape that comes eight times in a row
SLOW_SECONDS = 0.1  # cold caches cost half a millisecond: a pass this long does not notice

Inputs: TypeAlias = Mapping[str, Shaped[np.ndarray, "B ..."]]
Columns: TypeAlias = list[list[str]]  # of texts: one, or two of pairs


@dataclass(frozen=True)
class Failure:
    """A worker's answer if a request raised an exception; `by_user` if a UserError."""

    by_user: bool
    text: str


class TimedModel:
    """A model, the batch that it is timed on, and its memory."""

    def __init__(self, folder: str, torch_device: str, threads: int, meter: type[Meter]) -> None:
        """Stores what to load, and the memory meter."""
        self._arguments = folder, torch_device, threads
        self._meter_class = meter
        self._peer: psutil.Process | None = None
        self._model: InferenceModel
        self._meter: Meter
        self._batch: Mapping[str, Any] = {}
        self._seconds = 0.0

    def load(self) -> None:
        """Loads the model."""
        import torch

        from compress.store.artifact import load

        folder, torch_device, threads = self._arguments
        torch.set_num_threads(threads)
        self._meter = self._meter_class(Path(folder))
        self._model = load(folder, torch_device, threads)
        # What is there stays: no collection need look at it again.
        gc.freeze()

    def set_peer(self, pid: int) -> None:
        """Stores the process of the other worker."""
        self._peer = psutil.Process(pid)

    def kill_peer(self) -> None:
        """Kills the other worker, which is suspended, if it still exists."""
        if self._peer is not None:
            with suppress(psutil.Error):
                self._peer.kill()

    def prepare(self, inputs: Inputs, seconds: float) -> float:
        """Warms up with at least two passes."""
        import torch

        self._batch = {name: torch.from_numpy(values) for name, values in inputs.items()}
        deadline = time.perf_counter() + seconds
        before = self._window(1)
        while True:
            window = min(MAX_WINDOW, int(min(WINDOW_SECONDS, seconds) / before) + 1)
            self._seconds = self._window(window)
            if abs(self._seconds / before - 1) <= SETTLED or time.perf_counter() > deadline:
                return 1000 * self._seconds
            before = self._seconds

    def time_block(self, passes: int) -> list[float]:
        """Times passes, after an untimed one that warms caches and threads."""
        if self._seconds < SLOW_SECONDS:
            self._run(1)
        return [1000 * seconds for seconds in self._run(passes)]

    def tokenize(self, batches: Sequence[Columns], max_length: int, seconds: float) -> list[float]:
        """Milliseconds to tokenize the batches in turn, with a forward pass after each.

        At least `LEAST_TOKENIZED`, however long they take.
        """
        import torch

        times: list[float] = []
        deadline = time.perf_counter() + seconds
        gc.disable()
        passes = itertools.islice(itertools.cycle(batches), FIRST_TOKENIZED + MOST_TOKENIZED)
        for columns in passes:
            enough = len(times) >= FIRST_TOKENIZED + LEAST_TOKENIZED
            if enough and time.perf_counter() > deadline:
                break
            started = time.perf_counter()
            batch = self._model.encoder.encode(columns, max_length)
            times.append(1000 * (time.perf_counter() - started))
            self._model.predict({name: torch.from_numpy(each) for name, each in batch.items()})
            self._model.synchronize()
        gc.enable()
        return times[FIRST_TOKENIZED:]

    def generate(self, tokens: Shaped[np.ndarray, "1 L"], count: int) -> tuple[float, float]:
        """Milliseconds to the first token, and the mean for each token after it."""
        import torch

        prompt = torch.from_numpy(tokens)
        ends = []
        gc.disable()
        self._model.synchronize()
        started = time.perf_counter()
        for _ in self._model.decode(prompt, count):
            self._model.synchronize()
            ends.append(time.perf_counter())
        gc.enable()
        return 1000 * (ends[0] - started), 1000 * (ends[-1] - ends[0]) / (count - 1)

    def resident_memory(self, inputs: Inputs) -> int | None:
        """Memory of the model after a pass: weights may be read lazily."""
        self._warm_up(inputs)
        return self._meter.resident()

    def peak_memory(self, inputs: Inputs) -> int | None:
        """Peak memory of a forward pass."""
        self._warm_up(inputs)
        return self._meter.peak(lambda: self._model.predict(self._batch))

    def _warm_up(self, inputs: Inputs) -> None:
        """Runs a batch until a runtime has finished all work specific to its shape."""
        self.prepare(inputs, 0.0)
        self._run(WEIGHED_PASSES)

    def _window(self, passes: int) -> float:
        return float(np.median(self._run(passes)))

    def _run(self, passes: int) -> list[float]:
        """Seconds of each pass, with garbage collection disabled."""
        times = []
        gc.disable()
        for _ in range(passes):
            self._model.synchronize()
            started = time.perf_counter()
            self._model.predict(self._batch)
            self._model.synchronize()
            times.append(time.perf_counter() - started)
        gc.enable()
        return times


def serve(
    connection: Connection, folder: str, torch_device: str, threads: int, meter: type[Meter]
) -> None:
    """The worker's main loop: answers requests until asked to end or the pipe closes.

    A request is the name of a method of `TimedModel` with its arguments.
    """
    # The process that asks is interrupted too, and ends this one in good order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # That process loaded the same folder and has shown them.
    warnings.simplefilter("ignore")
    model = TimedModel(folder, torch_device, threads, meter)
    try:
        while (request := connection.recv()) is not None:
            connection.send(_answer(model, *request))
    except (EOFError, OSError):
        model.kill_peer()


def _answer(model: TimedModel, request: str, arguments: tuple[Any, ...]) -> Any:
    try:
        return getattr(model, request)(*arguments)
    except UserError as error:
        return Failure(True, str(error))
    except Exception as error:
        return Failure(False, f"{error}\n{traceback.format_exc()}")
