"""Times a model against itself, again and again: `python -m benchmarks.noise docs/noise.md --busy`.

The teacher of a config (the default one, or as the overrides say) takes the part of both models, as
it does when a sweep measures its noise floor. Each repeat is a whole measurement with processes of
its own, so the spread of the ratios is that of two runs of the same command.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from compress.build import build_run
from compress.config.compose import CONF, compose_config
from compress.config.ending import Parser, one_line_ending
from compress.core.monitor import UNWATCHED
from compress.interfaces import Device
from compress.measure.environment import environment
from compress.measure.latency import TimedModel, Timing, fill_shapes, measure_latency
from compress.report.tables import markdown_table
from compress.report.written import check_page
from compress.stage.run import Run
from compress.stage.stages import compress, load_measured

# First, so that the user's own come after them.
OVERRIDES = ("device.benchmark.shapes=[[1,32],[1,128]]",)
TITLE = "# A model against itself"
NEAR = 0.02
# Ends with the process that started it, however that ends.
BUSY = (
    "import os, numpy as np\n"
    "x, parent = np.random.rand(512, 512), os.getppid()\n"
    "while os.getppid() == parent: x @ x"
)

Repeat = Sequence[Timing]


@one_line_ending()
def main() -> None:
    """Measures, and writes the page."""
    parser = Parser(description=__doc__)
    parser.add_argument("page", type=Path, help="the Markdown file to write")
    parser.add_argument("overrides", nargs="*", help="such as device.threads=1")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--busy", action="store_true", help="then again beside a busy process")
    arguments = parser.parse_intermixed_args()
    check_page(arguments.page, TITLE)
    run = build_run(compose_config(CONF, [*OVERRIDES, *arguments.overrides]))
    lines = list(measure_noise(run, arguments.repeats, arguments.busy))
    command = f"python -m benchmarks.noise {' '.join(sys.argv[1:])}"
    page = [TITLE, "", f"Made by `{command}`; see measurement.md.", "", *lines]
    arguments.page.write_text("\n".join(page) + "\n", encoding="utf-8")


def measure_noise(run: Run, repeats: int, busy: bool) -> Iterator[str]:
    """The page's lines: the machine, then a section for each state that it was in."""
    device = run.device
    about = environment(device)
    yield f"Machine: {about.machine}; {about.device}; torch {about.versions['torch']}."
    settings = device.benchmark
    yield (
        f"Each repeat: {settings.process_restarts} process restarts, at most "
        f"{settings.seconds:g} s a shape, done early at an interval of "
        f"{settings.target_ci_width:g}."
    )
    with device.session():
        timed_model = _teacher(run)
        yield from _section("Nothing else running", timed_model, device, repeats)
        if busy:
            with _busy_process():
                yield from _section(
                    "Beside a process that multiplies", timed_model, device, repeats
                )


def _teacher(run: Run) -> TimedModel:
    """The teacher's folder, with a batch of each shape."""
    with (
        TemporaryDirectory() as folder,
        run.cache.open(Path(folder), run.device, run.seed) as store,
    ):
        _, ctx = compress(run, run.task.load().training, store, UNWATCHED)
    assert ctx.teacher.folder is not None, "every stage's model is stored"
    loaded = load_measured(ctx.teacher.folder, run.device)
    shapes = run.device.benchmark.shapes
    return TimedModel(loaded.folder, fill_shapes(loaded.model, ctx.data.calibration, shapes))


def _section(title: str, timed_model: TimedModel, device: Device, repeats: int) -> Iterator[str]:
    print(title)  # noqa: T201
    started = time.perf_counter()
    found = [_repeat(timed_model, device, seed) for seed in range(repeats)]
    minutes = (time.perf_counter() - started) / 60
    yield from ("", f"## {title}", "", f"{repeats} repeats, {minutes:.1f} minutes.", "")
    shapes = [f"{timing.batch}×{timing.length}" for timing in found[0]]
    rows = [
        [str(seed + 1), *(_interval(timing, seed) for timing in timings)]
        for seed, timings in enumerate(found)
    ]
    yield from markdown_table(["repeat", *shapes], rows)
    yield ""
    for index, shape in enumerate(shapes):
        intervals = [timings[index].interval(seed) for seed, timings in enumerate(found)]
        yield _summary(shape, intervals)
        print(_summary(shape, intervals))  # noqa: T201


def _repeat(timed_model: TimedModel, device: Device, seed: int) -> Repeat:
    timings = measure_latency(timed_model, timed_model, device, seed).shapes
    print(*(_interval(timing, seed) for timing in timings), sep="  ", flush=True)  # noqa: T201
    return timings


def _interval(timing: Timing, seed: int) -> str:
    ratio, low, high = timing.interval(seed)
    return f"{ratio:.3f} [{low:.3f}, {high:.3f}]"


def _summary(shape: str, intervals: Sequence[tuple[float, float, float]]) -> str:
    near = sum(abs(ratio - 1) <= NEAR for ratio, _, _ in intervals)
    cover = sum(low <= 1 <= high for _, low, high in intervals)
    furthest = max(abs(ratio - 1) for ratio, _, _ in intervals)
    width = median(high - low for _, low, high in intervals)
    return (
        f"- {shape}: the ratio is within {NEAR:.0%} of 1 in {near} of {len(intervals)} repeats "
        f"(furthest {furthest:.1%}), the interval covers 1 in {cover}; its median width is "
        f"{width:.1%}."
    )


@contextmanager
def _busy_process() -> Iterator[None]:
    """A second process that keeps one processor busy with matrices."""
    environ = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", BUSY], env=environ)
    try:
        yield
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
