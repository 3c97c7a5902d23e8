"""An NVIDIA GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from pydantic.dataclasses import dataclass

from compress.config.errors import UserError
from compress.core.benchmark import Benchmark
from compress.core.meter import Meter
from compress.interfaces import Device, Runtime


class CudaMeter(Meter):
    """GPU memory as counted by torch's allocator."""

    def __init__(self, folder: Path) -> None:
        """Starts with no memory on the GPU."""

    def resident(self) -> int | None:
        """Bytes of all tensors on the GPU."""
        return torch.cuda.memory_allocated()

    def peak(self, run: Callable[[], object]) -> int | None:
        """Peak bytes allocated during the run."""
        torch.cuda.reset_peak_memory_stats()
        run()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated()


@dataclass(frozen=True, kw_only=True)
class Cuda(Device):
    """The first visible CUDA device; select another with CUDA_VISIBLE_DEVICES.

    Attributes:
        runtime: what exports and executes the compressed model.
        benchmark: what to time.
    """

    torch_device = "cuda"
    meter = CudaMeter

    runtime: Runtime
    benchmark: Benchmark

    def check(self) -> None:
        """Raises a UserError if torch finds no GPU."""
        if not torch.cuda.is_available():
            build = "a CPU build" if torch.version.cuda is None else f"CUDA {torch.version.cuda}"
            raise UserError(f"device=cuda: torch ({build}) finds no GPU; set device=cpu")

    @contextmanager
    def session(self) -> Iterator[None]:
        """Does nothing: there are no threads to pin."""
        yield

    def thread_count(self) -> int:
        """Torch's default."""
        return torch.get_num_threads()

    def training_dtype(self) -> torch.dtype:
        """bfloat16 from the Ampere generation on, else float32."""
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float32

    def label(self) -> str:
        """A label such as "cuda, NVIDIA H200"."""
        return f"cuda, {torch.cuda.get_device_name()}"
