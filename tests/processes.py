"""Processes of tests that do something and wait."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.configs import ROOT


@contextmanager
def waiting(program: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process of a program that prints a line and then reads one; and what it printed."""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
