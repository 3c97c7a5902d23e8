"""The processor of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import torch

from compress.config.errors import ConfigError
from compress.config.settings import check_positive
from compress.core.benchmark import Benchmark
from compress.interfaces import Device, Runtime
from compress.system.processes import physical_cores


@dataclass(frozen=True, kw_only=True)
class Cpu(Device):
    """CPU.

    Attributes:
        threads: for training and measuring; null for one per physical core.
        training_threads: for all but timing, where several runs share the processor; null for as
            many as for timing.
        runtime: what exports and executes the compressed model.
        benchmark: what to time.
    """

    torch_device = "cpu"

    threads: int | None
    training_threads: int | None
    runtime: Runtime
    benchmark: Benchmark

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ConfigError: one is outside what it may be.
        """
        super().__post_init__()
        check_positive(self, "threads", "training_threads")

    def check(self) -> None:
        """Refuses more threads than the machine has logical cores."""
        logical = psutil.cpu_count() or 1
        for name in ("threads", "training_threads"):
            if (asked := getattr(self, name)) is not None and asked > logical:
                raise ConfigError(f"device.{name} must be at most {logical} here, got {asked}")

    @contextmanager
    def session(self) -> Iterator[None]:
        """Pins torch's threads and sets them back afterwards."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.training_threads or self.thread_count())
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def training_dtype(self) -> torch.dtype:
        """bfloat16 where AVX-512 or AMX has arithmetic for it."""
        return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32

    def label(self) -> str:
        """Such as "cpu, 2 threads"."""
        count = self.thread_count()
        return f"cpu, {count} thread{'s' if count > 1 else ''}"

    def thread_count(self) -> int:
        """The asked number, or one per physical core."""
        return self.threads or physical_cores()
