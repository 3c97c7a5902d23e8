"""The process of a driver, identified by host, pid and start time, with a heartbeat.

On its own host a driver is alive as long as its process is. On other hosts its heartbeat decides: a
time in the study that it renews. The clocks of the hosts must agree within `PATIENCE_SECONDS`.
"""

from __future__ import annotations

import os
import platform
import time
import uuid
from dataclasses import dataclass, field

import psutil
from optuna import Study

DRIVER = "driver:"  # of the study: one attribute for each driver
HEARTBEAT_SECONDS = 20.0
PATIENCE_SECONDS = 180.0
# A process's start time is counted in ticks since boot; two readings may differ by one.
SAME_START_SECONDS = 1.0


@dataclass(frozen=True)
class DriverProcess:
    """The process of a search's driver.

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
        """Whether the driver is alive, as far as this host can see."""
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

    @property
    def key(self) -> str:
        """Name of the study's attribute that stores this driver."""
        return DRIVER + self.identity


def drivers_of(study: Study) -> dict[str, DriverProcess]:
    """The drivers of a study by their identities."""
    found = (value for key, value in study.user_attrs.items() if key.startswith(DRIVER))
    return {each.identity: each for each in (DriverProcess(**value) for value in found)}
