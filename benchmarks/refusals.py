"""Time until a config error is reported: `python -m benchmarks.refusals docs/refusals.md`.

Run from the repository's root: the mistakes are those of `tests/mistakes/`, every third one of
the table, each as `run.py` in a process of its own, one after the other.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from compress.config.ending import Parser, one_line_ending
from compress.measure.environment import machine
from tests.mistake_files import arguments, write_files
from tests.mistakes import TABLE

ROOT = Path(__file__).parents[1]
MISTAKES = [command for command, _ in TABLE[::3]]
TITLE = "# How long a mistake takes to be refused"
SHOWN = 10


@one_line_ending()
def main() -> None:
    """Runs the mistakes and writes the page."""
    parser = Parser(description=__doc__)
    parser.add_argument("page", type=Path, help="the Markdown file to write")
    page = parser.parse_args().page
    found = [(measured(command), command) for command in MISTAKES]
    page.write_text("\n".join(lines(found)) + "\n", encoding="utf-8")


def measured(command: str) -> float:
    """Seconds from the start of `run.py` with a mistake to its end."""
    with TemporaryDirectory() as name:
        write_files(Path(name))
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "run.py", *arguments(command, Path(name))],
            cwd=ROOT,
            capture_output=True,
            text=True,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
        )
        seconds = time.monotonic() - started
    output = (done.stdout + done.stderr).splitlines()
    assert (done.returncode, len(output)) == (1, 1), f"{command}: {output}"
    print(f"{seconds:4.1f} s  {output[0][:100]}", flush=True)  # noqa: T201
    return seconds


def lines(found: Sequence[tuple[float, str]]) -> Iterator[str]:
    """The page."""
    every = [seconds for seconds, _ in found]
    slowest = sorted(found, reverse=True)[:SHOWN]
    yield TITLE
    yield ""
    yield (
        f"Made by `python -m benchmarks.refusals docs/refusals.md`; {machine()}. "
        f"{len(found)} mistakes of `tests/mistakes/`, each as `run.py` in a process of its own, "
        f"one after the other: median {statistics.median(every):.1f} s, slowest {max(every):.1f}."
    )
    yield ""
    yield f"The {SHOWN} slowest:"
    yield ""
    yield "| seconds | arguments |"
    yield "| --- | --- |"
    for seconds, command in slowest:
        shown = command.replace("|", "\\|")
        yield f"| {seconds:.1f} | `{shown}` |"


if __name__ == "__main__":
    main()
