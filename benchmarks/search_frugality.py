"""What a search saves: `python benchmarks/search_frugality.py docs/frugality.md`.

24 trials, 4 pruners × 3 strengths × 2 formats of one distilled student, as one search with a cache
of its own; then some of the same runs alone, each without a cache. The ratio is of the search's
time to that of 24 such runs, both of this one session.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from compress.measure.environment import machine

ROOT = Path(__file__).parents[1]
STUDENT = ("student=layers", "student.keep=2")
MEASURED = (
    "device.benchmark.shapes=[[1,32]]",
    "device.benchmark.seconds=0.5",
    "device.benchmark.sittings=1",
    "device.benchmark.noise_floor=false",
)
SPACE = (
    "pruner=wanda,magnitude,heads,neurons",
    "pruner.sparsity=0.25,0.5,0.75",
    "quantizer=none,int8_dynamic",
)
TRIALS = 24


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
        search = _seconds([*_search(folder), *task])
        trials = sorted(folder.glob("search/[0-9]*/metrics.json"))
        cached = [_record(path)["seconds"] for path in trials]
        chosen = trials[:: max(1, len(trials) // arguments.cold)][: arguments.cold]
        cold = [_seconds([*_alone(path), *task, "cache=off"]) for path in chosen]
    lines = _page(arguments, len(trials), search, cached, cold)
    arguments.page.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _search(folder: Path) -> list[str]:
    return [
        *("-m", "+search=pareto", "~search.space", "~search.constraints", *SPACE),
        *("search.sampler.name=grid", f"hydra.sweeper.n_trials={TRIALS}"),
        *(f"hydra.sweep.dir={folder / 'search'}", f"cache.dir={folder / 'cache'}"),
    ]


def _alone(path: Path) -> list[str]:
    """A trial's own settings."""
    keys = ("pruner=", "pruner.", "quantizer=")
    return [word for word in _record(path)["overrides"] if word.startswith(keys)]


def _record(path: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(path.read_text())
    return found


def _seconds(arguments: Sequence[str]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "run.py", *arguments], cwd=ROOT, check=True)
    return time.perf_counter() - started


def _page(
    arguments: argparse.Namespace,
    trials: int,
    search: float,
    cached: Sequence[float],
    cold: Sequence[float],
) -> Iterator[str]:
    alone = statistics.mean(cold) * TRIALS
    yield "# A search against separate runs"
    yield ""
    yield (
        f"Made by `python benchmarks/search_frugality.py docs/frugality.md --limit "
        f"{arguments.limit} --cold {arguments.cold}`. Machine: {machine()}."
    )
    yield ""
    yield f"- One search of {trials} trials that share a teacher and a student: {search:.0f} s."
    yield (
        f"- {len(cold)} of these runs alone, without a cache: "
        f"{', '.join(f'{each:.0f}' for each in cold)} s; {TRIALS} of their mean are {alone:.0f} s."
    )
    yield f"- The search took 1/{alone / search:.1f} of that time."
    yield (
        f"- A trial in the search took {statistics.median(cached):.1f} s (median), "
        "of which most is measuring."
    )


if __name__ == "__main__":
    main()
