"""Start methods of child processes, physical cores, and memory that is not in use."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.context import BaseContext

import psutil

LOKY = "joblib.externals.loky.backend.context"


def process_context(preloaded: Sequence[str]) -> BaseContext:
    """Multiprocessing context: forkserver where available, else spawn.

    The server imports the preloaded modules once, so that processes start in a fraction of a
    second. Those of the first caller apply to the whole program.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # In joblib's processes "loky" is the default start method; their children must know it as well.
    joblib = multiprocessing.get_start_method(allow_none=True) == "loky"
    context.set_forkserver_preload([*preloaded, *([LOKY] if joblib else [])])
    return context


def start_server(preloaded: Sequence[str]) -> None:
    """Starts the server in the background, whose imports take seconds."""
    if process_context(preloaded).get_start_method() == "forkserver":
        forkserver.ensure_running()


def physical_cores() -> int:
    """Number of physical cores, or of logical ones where the system does not report them."""
    return psutil.cpu_count(logical=False) or psutil.cpu_count() or 1


def release_memory() -> None:
    """Gives freed memory back to the system, where the C library can: glibc keeps gigabytes."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


def family_seconds() -> dict[tuple[int, float], float]:
    """Processor time so far, by process, of this one, what started it, and all that these started.

    Those that started it count as far as they are the same Python: the driver of a search, whose
    other workers rest while models are timed, and the server that processes are forked from.
    """
    root = psutil.Process()
    found, python = {}, root.exe()
    with suppress(psutil.Error):
        for parent in root.parents():
            if parent.exe() != python:
                break
            root = parent
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.Error):
            times = process.cpu_times()
            found[process.pid, process.create_time()] = times.user + times.system
    return found
