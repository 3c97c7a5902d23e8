"""What it takes to serve a model: `python -m benchmarks.serving PAGE MODEL …`.

For each folder a virtual environment is made with the extra of its runtime alone, and processes
that load the model and label one text are started in it. Their first answer, processor time and
memory are written to the page, beside those of a process of this environment that loads the same
folder to measure it, with torch and transformers.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
import venv
from dataclasses import dataclass
from pathlib import Path

from compress.config.ending import Parser, one_line_ending
from compress.measure.environment import machine
from compress.report.tables import markdown_table
from compress.report.written import check_page
from compress.serve.folder import folder_bytes, read_manifest, read_spec

ROOT = Path(__file__).parents[1]
REPEATS = 7
TITLE = "# What it takes to serve a model"
# Prints what `/proc` and the system say after the first answer; then the time of many more.
SERVED = """
import json, resource, sys, time
import compress
model = compress.load(sys.argv[1], threads=1)
model.classify(["a fine film"])
first = time.time()
used = resource.getrusage(resource.RUSAGE_SELF)
status = open("/proc/self/status").read()
resident = int(status.split("VmRSS:")[1].split()[0]) * 1024
loaded = [name for name in ("torch", "transformers", "pandas") if name in sys.modules]
times = []
for _ in range(300):
    started = time.perf_counter()
    model.classify(["a fine film that is worth every minute of it"])
    times.append(time.perf_counter() - started)
print(json.dumps({
    "first": first, "cpu": used.ru_utime + used.ru_stime, "resident": resident,
    "label": sorted(times)[150], "loaded": loaded, "tokenizer": model.tokenizer,
}))
"""
MEASURED = """
import json, resource, sys, time
from compress.store.artifact import load
import torch
torch.set_num_threads(1)
model = load(sys.argv[1], "cpu", 1)
batch = model.tokenizer(["a fine film"], return_tensors="pt")
model.predict(batch).softmax(-1)
first = time.time()
used = resource.getrusage(resource.RUSAGE_SELF)
status = open("/proc/self/status").read()
resident = int(status.split("VmRSS:")[1].split()[0]) * 1024
print(json.dumps({
    "first": first, "cpu": used.ru_utime + used.ru_stime, "resident": resident,
    "label": None, "loaded": ["torch", "transformers"], "tokenizer": "transformers",
}))
"""


@dataclass(frozen=True)
class Cost:
    """Medians over processes: seconds, bytes, and seconds from a text to its label."""

    first: float
    cpu: float
    resident: float
    label: float | None
    loaded: tuple[str, ...]
    tokenizer: str


def cost(python: Path, program: str, model: Path) -> Cost:
    """Starts processes one after the other; the first one, which fills caches, does not count."""
    found = []
    for _ in range(REPEATS + 1):
        started = time.time()
        ended = subprocess.run(
            [str(python), "-c", program, str(model.resolve())],
            capture_output=True, text=True, check=True, cwd=model.parent,
        )  # fmt: skip
        each = json.loads(ended.stdout)
        found.append({**each, "first": each["first"] - started})
    rest = found[1:]
    medians = {key: statistics.median(each[key] for each in rest) for key in ("first", "cpu")}
    label = None if rest[0]["label"] is None else statistics.median(e["label"] for e in rest)
    return Cost(
        **medians,
        resident=statistics.median(each["resident"] for each in rest),
        label=label,
        loaded=tuple(rest[0]["loaded"]),
        tokenizer=rest[0]["tokenizer"],
    )


def environment(folder: Path, runtime: str) -> Path:
    """A new virtual environment with the extra that serves a runtime; returns its interpreter."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    wanted = f"{ROOT}[serve-{runtime}]"
    constraints = ["--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([str(python), "-m", "pip", "install", "-q", *constraints, wanted], check=True)
    return python


def installed_bytes(folder: Path) -> int:
    """Bytes of the packages in a virtual environment."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def rows(models: list[Path]) -> list[tuple[str, ...]]:
    """One row for each model and way to load it."""
    found = []
    made: dict[str, tuple[Path, int]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for model in models:
            read_manifest(model)
            runtime = read_spec(model).runtime
            if runtime not in made:
                folder = Path(scratch) / runtime
                made[runtime] = environment(folder, runtime), installed_bytes(folder)
            python, size = made[runtime]
            megabytes = folder_bytes(model) / 1e6
            what = f"{runtime}, {megabytes:.1f} MB"
            served = cost(python, SERVED, model)
            found.append((what, f"served, {size / 1e6:.0f} MB installed", *_words(served)))
            found.append((what, "measured", *_words(cost(Path(sys.executable), MEASURED, model))))
    return found


def _words(found: Cost) -> tuple[str, ...]:
    return (
        f"{found.first:.2f} s",
        f"{found.cpu:.2f} s",
        f"{found.resident / 1e6:.0f} MB",
        "–" if found.label is None else f"{1000 * found.label:.2f} ms",
        found.tokenizer,
        ", ".join(found.loaded) or "neither",
    )


@one_line_ending()
def main() -> None:
    """Writes the page."""
    parser = Parser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("models", type=Path, nargs="+", help="model folders")
    arguments = parser.parse_args()
    check_page(arguments.page, TITLE)
    columns = (
        "model", "loaded to be", "first answer", "processor time", "resident", "text to label",
        "tokenizer", "torch, transformers",
    )  # fmt: skip
    table = "\n".join(markdown_table(columns, rows(arguments.models)))
    words = (
        f"`python -m benchmarks.serving {arguments.page} MODEL …` on {machine()}; one thread, "
        f"medians of {REPEATS} processes after one more. "
        "“Served” is `compress.load(…).classify([…])` in a new virtual environment with the extra "
        "of the runtime alone; “measured” is what a run loads to time it. The first answer counts "
        "from the start of the process."
    )
    text = f"{TITLE}\n\n{textwrap.fill(words, 100)}\n\n{table}\n"
    arguments.page.write_text(text)


if __name__ == "__main__":
    main()
