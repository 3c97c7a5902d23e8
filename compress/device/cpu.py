"""The CPU."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch
from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError
from compress.config.fields import PositiveInt
from compress.core.benchmark import Benchmark
from compress.core.meter import Meter
from compress.interfaces import Device, Runtime
from compress.system.processes import physical_cores


class HostMeter(Meter):
    """Main memory in resident pages, as counted by Linux, including the allocator's cache.

    Counts the pages of no file but the model's own. A library's are loaded when its code first
    runs, and are shared with every process that has it.
    """

    def __init__(self, folder: Path) -> None:
        """Reads the current resident bytes."""
        self._folder = str(folder.resolve())
        self._before = self._own()

    def resident(self) -> int | None:
        """Bytes added since; None except on Linux."""
        now = self._own()
        return None if now is None or self._before is None else max(0, now - self._before)

    def peak(self, run: Callable[[], object]) -> int | None:
        """Bytes after the run plus the transient peak during it."""
        try:
            # Makes the high-water mark the present size; see proc_pid_clear_refs(5).
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return None
        run()
        sizes = re.findall(r"(VmHWM|VmRSS):\s+(\d+) kB", Path("/proc/self/status").read_text())
        kilobytes = {name: int(size) for name, size in sizes}
        resident = self.resident()
        if resident is None:
            return None
        return resident + 1024 * (kilobytes["VmHWM"] - kilobytes["VmRSS"])

    def _own(self) -> int | None:
        try:
            lines = Path("/proc/self/smaps").read_text().splitlines()
        except OSError:
            return None
        return own_bytes(lines, self._folder)


def own_bytes(smaps: Iterable[str], folder: str) -> int:
    """Resident bytes of anonymous memory and of mapped files in the folder.

    `psutil.Process.memory_maps` has the same figures, but adds 2 MB of its own to them.

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


@dataclass(frozen=True, kw_only=True)
class Cpu(Device):
    """The CPU, with pinned threads.

    Attributes:
        threads: threads for training and measuring; null for one per physical core.
        training_threads: threads for everything but timing, for runs in parallel; null for as many
            as `threads`.
        runtime: what exports and executes the compressed model.
        benchmark: what to time.
    """

    torch_device = "cpu"
    meter = HostMeter

    threads: PositiveInt | None
    training_threads: PositiveInt | None
    runtime: Runtime
    benchmark: Benchmark

    def check(self) -> None:
        """Rejects more threads than the machine has logical cores."""
        logical = psutil.cpu_count() or 1
        for name in ("threads", "training_threads"):
            if (asked := getattr(self, name)) is not None and asked > logical:
                raise ConfigError(f"device.{name} must be at most {logical} here, got {asked}")

    @contextmanager
    def session(self) -> Iterator[None]:
        """Pins torch's threads and restores them afterwards."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.training_threads or self.thread_count())
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def training_dtype(self) -> torch.dtype:
        """bfloat16 if the CPU has AVX-512 or AMX arithmetic for it, else float32."""
        return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32

    def label(self) -> str:
        """A label such as "cpu, 2 threads"."""
        count = self.thread_count()
        return f"cpu, {count} thread{'s' if count > 1 else ''}"

    def thread_count(self) -> int:
        """The configured number, or one per physical core."""
        return self.threads or physical_cores()
