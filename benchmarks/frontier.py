"""What each technique gives a small student: `python -m benchmarks.frontier PAGE OVERRIDES`.

The overrides are those of `run.py` for teacher and task; without any it is the default task. One
shape is trained with more and more of what `+search=frontier` uses, each line with all of the lines
above it but for the settings that it names, and scored as it is and in OpenVINO's int8. PAGE gets
the table; `--folder` keeps the runs, so that the same command goes on after it was stopped.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from compress.config.ending import Parser, one_line_ending
from compress.measure.environment import machine
from compress.records.schema import FILE, FinishedRun, read_record

ROOT = Path(__file__).parents[1]
DISTILLATION = "student.distillation."
GROUPS = ("student", "task", "quantizer", "+")
REVIEWS = "task/transfer=reviews"
SHAPE = "student.shape."


@dataclass(frozen=True)
class Line:
    """A line of the table.

    Attributes:
        words: what is new.
        settings: overrides, of the distillation where they name no group; a later line's win.
        alone: whether later lines do without it.
    """

    words: str
    settings: tuple[str, ...]
    alone: bool = False


LINES = (
    Line(
        "3 layers of the teacher; batches of 32, T=2, labels too, 6 passes",
        ("student=layers", "student.keep=3", "epochs=6", "learning_rate=1.5e-4"),
    ),
    Line(
        "batches of 128, T=1, logits alone with their squares, no dropout, cosine",
        (
            "batch_size=128", "learning_rate=4e-4", "temperature=1.0", "alpha=1.0",
            "logit_mse=0.1", "dropout=0.0", "schedule=cosine",
        ),
    ),
    Line("neighbors, 3 passes", ("+student/augmentation=neighbors", "epochs=3"), alone=True),
    Line("sentences of reviews, labeled by the teacher, 1 pass", (REVIEWS, "epochs=1")),
    Line("weights averaged", ("average=0.999",)),
    Line(
        "ReLU, 14,000 tokens, 128 positions",
        tuple(SHAPE + each for each in ("activation=relu", "vocabulary=14000", "positions=128")),
    ),
    Line(
        "256 channels, 8 heads, 768 neurons",
        tuple(SHAPE + each for each in ("hidden=256", "heads=8", "neurons=768")),
    ),
    Line("tables in int4", ("quantizer.embeddings=int4",)),
    Line("3 passes", ("epochs=3",)),
)  # fmt: skip


@one_line_ending()
def main() -> None:
    """Trains all lines, or those that the folder lacks, and writes the page."""
    parser = Parser(description=__doc__)
    parser.add_argument("page", type=Path, help="the Markdown file to write")
    parser.add_argument("overrides", nargs="*", help="of teacher and task")
    parser.add_argument("--sentences", type=int, help="of reviews, at most")
    parser.add_argument("--folder", type=Path, default=ROOT / "outputs" / "frontier")
    parser.add_argument("--cache", type=Path, default=ROOT / "outputs" / "cache")
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    seeds = range(arguments.seeds)
    found = [[run(arguments, n, seed) for seed in seeds] for n in range(len(LINES))]
    command = ["python -m benchmarks.frontier", *sys.argv[1:]]
    arguments.page.write_text("\n".join(page(command, found)) + "\n", encoding="utf-8")


def overrides(number: int, sentences: int | None) -> list[str]:
    """The settings of a line."""
    lines = [*(each for each in LINES[:number] if not each.alone), LINES[number]]
    words = dict.fromkeys(word for line in lines for word in line.settings)
    if sentences is not None and REVIEWS in words:
        words[f"task.transfer.limit={sentences}"] = None
    return [word if word.startswith(GROUPS) else DISTILLATION + word for word in words]


def run(arguments: Namespace, number: int, seed: int) -> FinishedRun:
    """The record of a line's run, of this call or an earlier one."""
    folder = arguments.folder / f"{number}-{seed}"
    words = [
        *arguments.overrides,
        "device=cpu_openvino", "quantizer=int8_static", "quantizer.embeddings=int8",
        "measure_stages=true", "device.benchmark.shapes=[[1,32]]", "device.benchmark.seconds=0.5",
        "device.benchmark.process_restarts=1", "device.benchmark.noise_floor=false",
        *overrides(number, arguments.sentences), f"seed={seed}", f"hydra.run.dir={folder}",
        f"cache.dir={arguments.cache.resolve()}",
    ]  # fmt: skip
    if not (folder / FILE).is_file():
        subprocess.run([sys.executable, "run.py", *words], cwd=ROOT, check=True)
    record = read_record(folder / FILE)
    assert isinstance(record, FinishedRun), f"{folder} failed"
    return record


def page(command: Sequence[str], found: Sequence[Sequence[FinishedRun]]) -> Iterator[str]:
    """The page, given the command and the records of each line's seeds."""
    first = found[0][0].baseline
    yield "# What each technique gives"
    yield ""
    yield (
        f"Made by `{' '.join(command)}`; "
        f"{machine()}; torch {torch.__version__}, {torch.get_num_threads()} threads. The teacher "
        f"of the first seed: {first.score.value:.4f} on {first.score.samples} rows, "
        f"{first.size_bytes / 1e6:.1f} MB. Each line has the settings of those above it, but for "
        f"neighbors; {len(found[0])} seeds of teacher and student, their mean and in brackets each."
    )
    yield ""
    yield "| what is new | float | int8 in OpenVINO | MB | minutes of training |"
    yield "| --- | --- | --- | --- | --- |"
    for line, records in zip(LINES, found, strict=True):
        minutes = statistics.mean(student_minutes(each) for each in records)
        size = statistics.mean(each.metrics.size_bytes for each in records) / 1e6
        scores = shown([float_score(each) for each in records])
        exported = shown([each.metrics.score.value for each in records])
        yield f"| {line.words} | {scores} | {exported} | {size:.1f} | {minutes:.0f} |"


def shown(scores: Sequence[float]) -> str:
    """The mean of some scores, and each of them."""
    mean = f"{statistics.mean(scores):.4f}"
    return mean if len(scores) == 1 else f"{mean} ({', '.join(f'{s:.3f}' for s in scores)})"


def float_score(record: FinishedRun) -> float:
    """The score of the student before it is quantized."""
    return next(s.metrics.score.value for s in record.stage_metrics if s.stage == "student")


def student_minutes(record: FinishedRun) -> float:
    """Minutes of the student's stage, labels included; none if an earlier line computed it."""
    stages = [each for each in record.stages if each.name == "student"]
    return sum(each.seconds for each in stages if each.outcome == "computed") / 60


if __name__ == "__main__":
    main()
