"""Who runs a trial: a driver, known by host, process and start time, that says it is alive.

On its own host a driver is alive as long as its process is. Elsewhere only its heartbeat tells: a
time in the study that it renews, by the clocks of both hosts, which must agree within the patience.
"""

from __future__ import annotations

import os
import platform
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import psutil
from pydantic import TypeAdapter

DRIVER = "driver:"  # of the study: one attribute for each driver
HEARTBEAT_SECONDS = 20.0
PATIENCE_SECONDS = 180.0
# A process's start time is counted in ticks since boot; two readings may differ by one.
SAME_START_SECONDS = 1.0


@dataclass(frozen=True)
class DriverProcess:
    """A driver of a search.

    Attributes:
        host: the machine's name.
        pid: process number on that host.
        started: when that process began, in seconds since the epoch (pids are reused).
        joined: when it began to work on the study, in seconds since the epoch.
        heartbeat: when its latest heartbeat was written, in seconds since the epoch.
        identity: distinguishes two drivers in one process.
        gone: whether it has written that it ended.
    """

    host: str
    pid: int
    started: float
    joined: float
    heartbeat: float
    identity: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    gone: bool = False

    @classmethod
    def current(cls) -> DriverProcess:
        """This process."""
        pid, now = os.getpid(), time.time()
        return cls(platform.node(), pid, psutil.Process(pid).create_time(), now, now)

    def alive(self) -> bool:
        """Whether the driver is still there, as far as can be told from here."""
        if self.gone:
            return False
        if self.host != platform.node():
            return time.time() - self.heartbeat < PATIENCE_SECONDS
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < SAME_START_SECONDS
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def to_json(self) -> dict[str, object]:
        """As the study keeps it."""
        return asdict(self)

    @property
    def key(self) -> str:
        """The attribute of the study that it is known by."""
        return DRIVER + self.identity

    @staticmethod
    def from_json(raw: object) -> DriverProcess:
        """What `to_json` gave."""
        return TypeAdapter(DriverProcess).validate_python(raw)


def drivers_of(attributes: Mapping[str, object]) -> dict[str, DriverProcess]:
    """The drivers of a study by their identities.

    Args:
        attributes: the study's.
    """
    found = (value for key, value in attributes.items() if key.startswith(DRIVER))
    return {each.identity: each for each in map(DriverProcess.from_json, found)}
