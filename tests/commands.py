"""`python run.py …` in this process, for what needs none of its own."""

from __future__ import annotations

import logging
import runpy
import sys
import weakref
from collections.abc import Sequence
from typing import Any

import pytest

from tests.configs import ROOT


def run_here(*arguments: str) -> None:
    """Runs a command, and sets back what it sets for a process that is its own.

    Raises:
        SystemExit: it ends with something else than success.
    """
    handlers, level = list(logging.root.handlers), logging.root.level
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["run.py", *arguments])
        patch.setenv("HYDRA_FULL_ERROR", "1")
        patch.setattr(logging, "raiseExceptions", logging.raiseExceptions)
        patch.setattr(logging, "shutdown", end_files)
        try:
            runpy.run_path(str(ROOT / "run.py"), run_name="__main__")
        finally:
            for added in set(logging.root.handlers) - set(handlers):
                added.close()
            logging.root.handlers[:] = handlers
            logging.root.setLevel(level)


def end_files(
    handlers: Sequence[weakref.ref[logging.Handler]], end: Any = logging.shutdown
) -> None:
    """What sets up logs ends all handlers that there are; here those that write files.

    That of absl, which TensorBoard imports, would close the stream that pytest captures with.
    """
    end([each for each in handlers if isinstance(each(), logging.FileHandler)])


def refusal(*arguments: str) -> str:
    """What a command that fails says."""
    with pytest.raises(SystemExit) as ended:
        run_here(*arguments)
    return str(ended.value)
