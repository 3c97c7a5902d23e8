"""Speed of a student's training: `python -m benchmarks.training docs/training.md MODEL SST-2`.

MODEL is the folder of a 12-layer teacher such as gte-small, SST-2 that of GLUE's task. Students
with some of its layers learn random logits, so that no teacher is asked. Each line of the table has
the options of the lines above it, but for the one that says otherwise. Timed is one epoch, without
its first steps; lines take turns, and the fastest turn counts: what disturbs only slows.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import transformers
from torch import Tensor, nn

from compress.build import build_run
from compress.config.compose import CONF, compose_config
from compress.core.monitor import StepClock
from compress.interfaces import CompressedModel, StageContext
from compress.measure.environment import machine
from compress.stage.run import Run

SKIPPED = 3  # steps
LARGE = ("batch_size=128",)
PLAIN = (*LARGE, "dropout=0.0")


@dataclass(frozen=True)
class Case:
    """A line of the table: its words, and settings of the distillation."""

    words: str
    settings: tuple[str, ...]
    trimmed: bool = False  # the vocabulary
    rounded: bool = False  # attention in bfloat16


CASES = (
    Case("batches of 32, dropout, whole vocabulary", ()),
    Case("batches of 128", LARGE),
    Case("dropout=0.0, with attention left in bfloat16", PLAIN, rounded=True),
    Case("dropout=0.0", PLAIN),
    Case("vocabulary of {pieces:,} pieces", PLAIN, trimmed=True),
    Case("average=0.999", (*PLAIN, "average=0.999"), trimmed=True),
)


class RandomLogits:
    """A store that has random logits of every row."""

    def __init__(self, rows: int) -> None:
        """Draws logits of two classes."""
        self._logits = torch.randn(rows, 2, generator=torch.Generator().manual_seed(0))

    def tensors(
        self, name: str, inputs: Mapping[str, Any], make: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """The logits."""
        return {"logits": self._logits}


def run_of(arguments: argparse.Namespace, *overrides: str) -> Run:
    """The run of these overrides on the model and rows asked for."""
    return build_run(
        compose_config(
            CONF,
            [
                "teacher=local", f"teacher.path={arguments.model}",
                "task=sst2", f"task.path={arguments.rows}", "cache=off", *overrides,
            ],
        )
    )  # fmt: skip


def teachers(arguments: argparse.Namespace) -> tuple[CompressedModel, CompressedModel]:
    """The model with a head, and with the pieces alone that SST-2's train rows use."""
    few, all_rows = run_of(arguments, "task.limit=64"), run_of(arguments, "pruner=vocabulary")
    teacher = few.teacher.load(few.task.load().training, few.device, few.seed)
    data = all_rows.task.load().training
    ctx = StageContext(teacher, data, few.device, few.seed, RandomLogits(0))
    return teacher, all_rows.pruner.prune(teacher, ctx)


@contextmanager
def in_bfloat16(rounded: bool) -> Iterator[None]:
    """Attention as torch computes it under autocast."""
    name = "compress.training.functions._in_bfloat16"
    if not rounded:
        yield
        return
    with mock.patch(name, return_value=False):
        yield


def milliseconds(
    arguments: argparse.Namespace, case: Case, layers: int, teacher: CompressedModel
) -> tuple[float, int]:
    """Mean of a step, and the rows that it has."""
    settings = [f"student.distillation.{each}" for each in case.settings]
    run = run_of(
        arguments, "student=layers", f"student.keep={layers}", "student.distillation.epochs=1",
        f"task.limit={arguments.limit}", *settings,
    )  # fmt: skip
    data, clock = run.task.load().training, StepClock()
    store = RandomLogits(len(data.train))
    ctx = StageContext(teacher, data, run.device, run.seed, store, clock)
    with run.device.session(), in_bfloat16(case.rounded):
        run.student.distill(ctx)
    size: int = run.student.distillation.batch_size  # type: ignore[attr-defined]
    return 1e3 * clock.mean(SKIPPED), size


def adamw(denormal: bool) -> float:
    """Milliseconds of a step of AdamW on a table of 30,522 × 384 whose gradients are zero."""
    table = nn.Parameter(torch.randn(30_522, 384))
    optimizer = torch.optim.AdamW([table], fused=True)
    table.grad = torch.zeros_like(table)
    optimizer.step()
    optimizer.state[table]["exp_avg"].fill_(1e-39 if denormal else 1e-10)
    began = time.perf_counter()
    for _ in range(5):
        optimizer.step()
    return 1e3 * (time.perf_counter() - began) / 5


def main() -> None:
    """Times everything and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path, help="the Markdown file to write")
    parser.add_argument("model", type=Path, help="folder of the teacher")
    parser.add_argument("rows", type=Path, help="folder of SST-2")
    parser.add_argument("--limit", type=int, default=12_800, help="rows of an epoch")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--layers", type=int, nargs="+", default=[2, 3])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    whole, small = teachers(arguments)
    pieces = small.module.config.vocab_size
    found: dict[tuple[int, Case], list[tuple[float, int]]] = {}
    for _ in range(arguments.turns):
        for layers in arguments.layers:
            for case in CASES:
                teacher = small if case.trimmed else whole
                turn = milliseconds(arguments, case, layers, teacher)
                found.setdefault((layers, case), []).append(turn)
    lines = [
        "# Speed of training",
        "",
        "Made by `python -m benchmarks.training docs/training.md MODEL SST-2 "
        f"{' '.join(sys.argv[4:])}`; {machine()}; torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads. MODEL is gte-small; {arguments.limit:,} rows of "
        f"SST-2, the fastest of {arguments.turns} turns. "
        "Each line has the options of the lines above it.",
        "",
        "| layers | options | ms a step | rows a second | times the first line |",
        "| --- | --- | --- | --- | --- |",
    ]
    for layers in arguments.layers:
        speeds = []
        for case in CASES:
            step, size = min(found[layers, case])
            speeds.append(1e3 * size / step)
            words = case.words.format(pieces=pieces)
            gain = f"{speeds[-1] / speeds[0]:.2f}"
            lines.append(f"| {layers} | {words} | {step:.0f} | {speeds[-1]:,.0f} | {gain} |")
    lines += [
        "",
        f"A step of AdamW on a table of 30,522 × 384: {adamw(False):.0f} ms; "
        f"{adamw(True):.0f} ms if the first moment is denormal, which "
        "`compress/training/optimizer.py` prevents.",
    ]
    arguments.page.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
