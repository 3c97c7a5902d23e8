"""`python run.py …` in this process, for what needs none of its own."""

from __future__ import annotations

import logging
import os
import runpy
import sys

import pytest

from tests.configs import ROOT


def run_here(*arguments: str) -> None:
    """Runs a command, and sets back what it sets for a process that is its own.

    Raises:
        SystemExit: it ends with something else than success.
    """
    handlers, level = list(logging.root.handlers), logging.root.level
    # Whoever sets up logs ends all handlers first, and absl's, which TensorBoard imports, closes
    # the stream of its own: the one that pytest captures with. Not here.
    with (
        pytest.MonkeyPatch.context() as patch,
        open(os.dup(1), "w", encoding="utf-8") as out,
        open(os.dup(2), "w", encoding="utf-8") as err,
    ):
        patch.setattr(sys, "argv", ["run.py", *arguments])
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        patch.setenv("HYDRA_FULL_ERROR", "1")
        patch.setattr(logging, "raiseExceptions", logging.raiseExceptions)
        patch.setattr(logging, "shutdown", lambda *_: None)
        try:
            runpy.run_path(str(ROOT / "run.py"), run_name="__main__")
        finally:
            for added in set(logging.root.handlers) - set(handlers):
                added.close()
            logging.root.handlers[:] = handlers
            logging.root.setLevel(level)


def refusal(*arguments: str) -> str:
    """What a command that fails says."""
    with pytest.raises(SystemExit) as ended:
        run_here(*arguments)
    return str(ended.value)
