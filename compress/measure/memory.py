"""Memory: of a process with a model in it, and of torch's tensors one by one."""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Meter(ABC):
    """Measures the memory of a model that the process is about to load; made before it is."""

    @abstractmethod
    def __init__(self, folder: Path) -> None:
        """Notes what the process has already.

        Args:
            folder: of the model.
        """

    @abstractmethod
    def resident(self) -> int | None:
        """Bytes that came since; None where the system does not say."""

    @abstractmethod
    def peak(self, run: Callable[[], object]) -> int | None:
        """Bytes at most while `run`, which has run before, runs again; the model included."""


class HostMeter(Meter):
    """Main memory, as Linux counts it: in pages, with what the allocator keeps for later.

    Counts the pages of no file but the model's own. A library's are loaded when its code first
    runs, and are shared with every process that has it.
    """

    def __init__(self, folder: Path) -> None:
        """Counts the pages."""
        self._folder = str(folder.resolve())
        self._before = self._own()

    def resident(self) -> int | None:
        """Bytes that came since; None but on Linux."""
        now = self._own()
        return None if now is None or self._before is None else max(0, now - self._before)

    def peak(self, run: Callable[[], object]) -> int | None:
        """What is there after the run, and what was there for a moment on top of it."""
        try:
            # Makes the high-water mark the present size; see proc_pid_clear_refs(5).
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return None
        run()
        status = _process_status()
        resident = self.resident()
        return None if resident is None else resident + status["VmHWM"] - status["VmRSS"]

    def _own(self) -> int | None:
        try:
            lines = Path("/proc/self/smaps").read_text().splitlines()
        except OSError:
            return None
        return own_bytes(lines, self._folder)


class CudaMeter(Meter):
    """Memory of the GPU, as torch counts what it handed out."""

    def __init__(self, folder: Path) -> None:
        """Nothing is on the GPU yet."""

    def resident(self) -> int | None:
        """Bytes of all tensors on the GPU."""
        return torch.cuda.memory_allocated()

    def peak(self, run: Callable[[], object]) -> int | None:
        """The most bytes that were in use at once."""
        torch.cuda.reset_peak_memory_stats()
        run()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated()


METERS: Mapping[str, type[Meter]] = {"cpu": HostMeter, "cuda": CudaMeter}


def own_bytes(smaps: Iterable[str], folder: str) -> int:
    """Bytes in memory that are no file's, or those of a file in the folder.

    Args:
        smaps: lines of /proc/<pid>/smaps, see proc_pid_smaps(5): for each mapping a line that ends
            with the file's path, then lines such as "Rss:  4 kB".
        folder: as an absolute path.
    """
    kilobytes, mapped_here = 0, False
    for line in smaps:
        words = line.split(maxsplit=5)
        if not words[0].endswith(":"):
            mapped_here = len(words) == 6 and words[5].startswith(f"{folder}/")
        elif words[0] == ("Rss:" if mapped_here else "Anonymous:"):
            kilobytes += int(words[1])
    return 1024 * kilobytes


def _process_status() -> dict[str, int]:
    """The sizes in /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    pairs = [line.partition(":")[::2] for line in lines if line.endswith(" kB")]
    return {name: 1024 * int(value.split()[0]) for name, value in pairs}


class LiveTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the storages that operators return, and takes each off when it dies.

    Attributes:
        peak: the largest total so far, in bytes.
    """

    def __init__(self) -> None:
        """Counts from zero: what exists already is not in it."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._alive: set[int] = set()
        self._given: set[int] = set()
        self._now = 0
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the operator and counts what it returns."""
        for storage in _storages((args, kwargs)):
            self._note_given(storage)
        result = func(*args, **(kwargs or {}))
        for storage in _storages(result):
            self.add(storage)
        return result

    def add(self, storage: torch.UntypedStorage) -> None:
        """Counts a storage until it dies."""
        key = storage._cdata
        if key in self._alive or key in self._given:
            return
        self._alive.add(key)
        self._now += storage.nbytes()
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._remove, key, storage.nbytes())

    def _note_given(self, storage: torch.UntypedStorage) -> None:
        """An input that no operator made was there before: a view of it is no new memory."""
        key = storage._cdata
        if key not in self._alive and key not in self._given:
            self._given.add(key)
            weakref.finalize(storage, self._given.discard, key)

    def _remove(self, key: int, nbytes: int) -> None:
        self._alive.discard(key)
        self._now -= nbytes


def _storages(values: Any) -> Iterator[torch.UntypedStorage]:
    for leaf in tree_leaves(values):
        if isinstance(leaf, torch.Tensor):
            yield leaf.untyped_storage()
