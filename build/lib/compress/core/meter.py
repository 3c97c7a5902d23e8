"""What measures the memory of a model; each device has one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path


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
