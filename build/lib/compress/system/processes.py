"""Where processes come from, and how many threads one may use by itself."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from multiprocessing import forkserver
from multiprocessing.context import BaseContext

import psutil

LOKY = "joblib.externals.loky.backend.context"


def process_context(preloaded: Sequence[str]) -> BaseContext:
    """A server that processes are forked from, or new interpreters where there is none.

    Args:
        preloaded: modules that take long to import: the server has them already, so that a process
            starts in a fraction of a second. The first caller's count for the whole program.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # In joblib's processes "loky" is the default way to start others, which what they start is told
    # and has to know as well.
    joblib = multiprocessing.get_start_method(allow_none=True) == "loky"
    context.set_forkserver_preload([*preloaded, *([LOKY] if joblib else [])])
    return context


def start_server(preloaded: Sequence[str]) -> None:
    """Has the server import its modules, which takes seconds, while something else is done."""
    if process_context(preloaded).get_start_method() == "forkserver":
        forkserver.ensure_running()


def physical_cores() -> int:
    """Processor cores, as far as the system tells them from threads of one core."""
    return psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
