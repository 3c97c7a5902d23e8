"""Interface of memory meters; each device has one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path


class Meter(ABC):
    """Measures the memory of a model; created before the process loads it."""

    @abstractmethod
    def __init__(self, folder: Path) -> None:
        """Stores the memory that is in use before the model of the folder is loaded."""

    @abstractmethod
    def resident(self) -> int | None:
        """Bytes added since; None if the system does not report them."""

    @abstractmethod
    def peak(self, run: Callable[[], object]) -> int | None:
        """Peak bytes during a repeated call of `run`, including the model."""
