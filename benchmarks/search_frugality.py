"""Time that a search saves: `python benchmarks/search_frugality.py docs/frugality.md`.

24 trials, 4 pruners × 3 strengths × 2 formats of one distilled student, as one search with a cache
of its own; then some of the same runs alone, each without a cache. The ratio is of the search's
time to that of 24 such runs, both of this one session.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from compress.measure.environment import machine
from compress.records.schema import read_record

ROOT = Path(__file__).parents[1]
STUDENT = ("student=layers", "student.keep=2")
MEASURED = (
    "device.benchmark.shapes=[[1,32]]",
    "device.benchmark.seconds=0.5",
    "device.benchmark.process_restarts=1",
    "device.benchmark.noise_floor=false",
)
SPACE = (
    "pruner=wanda,magnitude,heads,neurons",
    "pruner.sparsity=0.25,0.5,0.75",
    "quantizer=none,int8_dynamic",
)
TRIALS, AGAIN = 24, 8


def main() -> None:
    """Times both and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path, help="the Markdown file to write")
    parser.add_argument("--limit", type=int, default=3000, help="rows of the task")
    parser.add_argument("--cold", type=int, default=4, help="how many of the runs to do alone")
    arguments = parser.parse_args()
    task = (f"task.limit={arguments.limit}", *STUDENT, *MEASURED)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        search = _seconds([*_search(folder, "search", TRIALS), *task])
        # Models that are deleted later would touch the records, whose times are looked at.
        _seconds([*_search(folder, "again", AGAIN), *task, "search.keep_artifacts=all"])
        trials = sorted(folder.glob("search/[0-9]*/metrics.json"))
        again = sorted(folder.glob("again/[0-9]*/metrics.json"))
        chosen = trials[:: max(1, len(trials) // arguments.cold)][: arguments.cold]
        cold = [_seconds([*_alone(path), *task, "cache=off"]) for path in chosen]
        lines = list(_page(arguments, search, _cycles(again), cold))
    arguments.page.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _search(folder: Path, name: str, trials: int) -> list[str]:
    return [
        *("-m", "+search=pareto", "~search.space", "~search.constraints", *SPACE),
        *("search.sampler.name=grid", f"hydra.sweeper.n_trials={trials}"),
        *(f"hydra.sweep.dir={folder / name}", f"cache.dir={folder / 'cache'}"),
    ]


def _alone(path: Path) -> list[str]:
    """A trial's own settings."""
    keys = ("pruner=", "pruner.", "quantizer=")
    return [word for word in read_record(path).overrides if word.startswith(keys)]


@dataclass(frozen=True)
class Cycle:
    """From the end of one trial to that of the next, and what of it was measuring; in seconds."""

    whole: float
    measuring: float


def _cycles(records: Sequence[Path]) -> list[Cycle]:
    """Of all but the first trial, in which the worker imports what all others find in memory."""
    cycles = []
    for before, path in pairwise(sorted(records, key=lambda path: path.stat().st_mtime)):
        measuring = read_record(path).measuring_seconds
        assert measuring is not None, "every trial of this search succeeds"
        cycles.append(Cycle(path.stat().st_mtime - before.stat().st_mtime, measuring))
    return cycles


def _seconds(arguments: Sequence[str]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "run.py", *arguments], cwd=ROOT, check=True)
    return time.perf_counter() - started


def _page(
    arguments: argparse.Namespace, search: float, cycles: Sequence[Cycle], cold: Sequence[float]
) -> Iterator[str]:
    alone = statistics.mean(cold) * TRIALS
    yield "# A search against separate runs"
    yield ""
    yield (
        f"Made by `python benchmarks/search_frugality.py docs/frugality.md --limit "
        f"{arguments.limit} --cold {arguments.cold}`. Machine: {machine()}."
    )
    yield ""
    yield f"- One search of {TRIALS} trials that share a teacher and a student: {search:.0f} s."
    yield (
        f"- {len(cold)} of these runs alone, without a cache: "
        f"{', '.join(f'{each:.0f}' for each in cold)} s; {TRIALS} of their mean are {alone:.0f} s."
    )
    yield f"- The search took 1/{alone / search:.1f} of that time."
    beyond = [cycle.whole - cycle.measuring for cycle in cycles]
    measuring = statistics.median(cycle.measuring for cycle in cycles)
    yield (
        f"- A trial whose stages are all in the cache took {statistics.median(beyond):.2f} s "
        "beside measuring, from the end of the one before it to its own (median of "
        f"{len(beyond)}, the longest {max(beyond):.2f} s); measuring took {measuring:.1f} s."
    )


if __name__ == "__main__":
    main()
