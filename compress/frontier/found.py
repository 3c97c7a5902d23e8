"""What a staged search has found so far, in its folder: one that was killed goes on with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from compress.config.errors import UserError, first_line
from compress.frontier.choose import Candidate
from compress.system.files import write_atomically

FILE, LOCK = "finalists.json", ".lock-finalists"


@dataclass(frozen=True)
class Found:
    """What a search has found so far.

    Attributes:
        key: identifies the search's settings.
        hours: that the search was given; null for no limit.
        spent: hours that it took to find the finalists.
        epochs: by key, those that follow from the hours of the search.
        finalists: the most promising first; none before they are chosen.
    """

    key: str
    hours: float | None = None
    spent: float = 0.0
    epochs: Mapping[str, float] = field(default_factory=dict)
    finalists: Sequence[Candidate] = ()

    def overrides(self) -> list[str]:
        """The epochs, as every trial has them."""
        return [f"{key}={epochs:g}" for key, epochs in self.epochs.items()]


def read_found(path: Path, key: str, hours: float | None) -> Found:
    """What a file holds; nothing if there is none, or it is of other settings.

    Before there are finalists, epochs for other hours count as nothing.

    Raises:
        UserError: the file is damaged.
    """
    if not path.is_file():
        return Found(key, hours)
    try:
        raw = json.loads(path.read_bytes())
        found = TypeAdapter(Found).validate_python(raw)
        same = found.key == key and (found.finalists or found.hours == hours)
        return found if same else Found(key, hours)
    except (ValueError, ValidationError) as error:
        raise UserError(f"{path} is damaged: {first_line(error)}; delete it") from error


def write_found(path: Path, found: Found) -> None:
    """Writes the file, and its folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(asdict(found)))


@contextmanager
def alone(folder: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Lets one process at a time find the finalists of a search; the next reads what it wrote.

    Args:
        folder: of the search.
        report: gets a line if there is another process to wait for.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        report(f"waiting for another process, which finds the finalists: {folder}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
