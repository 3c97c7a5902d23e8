"""Runs every method on one task and writes the table: `python scripts/methods.py docs/methods.md`.

`--sections Quantizers` runs and shows these alone; a page is of one machine.
Each method is one sweep of `run.py`, in a folder of its own below `outputs/methods`. A sweep whose
runs are all there is not run again, and stages come from the cache: stop it and start it at will.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from compress.config.ending import Parser, one_line_ending
from compress.pruner.components.base import PEAK_MEMORY
from compress.records.collect import collect
from compress.records.recipe import recipe
from compress.records.schema import FinishedRun
from compress.records.words import speedup_words
from compress.report.written import check_page
from compress.store.run_folder import new_folder

BENCHMARK = (
    "device.benchmark.shapes=[[1,32],[32,32]]",
    "device.benchmark.seconds=2",
    "device.benchmark.process_restarts=2",
    "device.benchmark.noise_floor=false",
)
TITLE = "# Every method on one task"
RECOVERY = "pruner.recovery.epochs=0,1"


@dataclass(frozen=True)
class Method:
    """One sweep.

    Attributes:
        name: of its folder.
        section: heading in the table.
        arguments: what `run.py -m` gets.
    """

    name: str
    section: str
    arguments: str


PRUNERS, STUDENTS, QUANTIZERS = "Pruners", "Students", "Quantizers"
METHODS = (
    Method("masks", PRUNERS, "pruner=magnitude,wanda,sparsegpt pruner.sparsity=0.5,0.6,0.7"),
    Method(
        "masks_recovered",
        PRUNERS,
        "pruner=magnitude,wanda,sparsegpt pruner.sparsity=0.5,0.7 pruner.recovery.epochs=1",
    ),
    Method("gradual", PRUNERS, "pruner=gradual pruner.sparsity=0.5,0.7"),
    Method("movement", PRUNERS, "pruner=movement pruner.sparsity=0.1,0.5"),
    Method("heads", PRUNERS, f"pruner=heads pruner.sparsity=0.25,0.5 {RECOVERY}"),
    Method("neurons", PRUNERS, f"pruner=neurons pruner.sparsity=0.25,0.5 {RECOVERY}"),
    Method("layers", PRUNERS, f"pruner=layers pruner.drop=1,2,3 {RECOVERY}"),
    Method(
        "hidden",
        PRUNERS,
        f"pruner=hidden pruner.sparsity=0.1667,0.3333 pruner.round_to=32 {RECOVERY}",
    ),
    Method("lowrank", PRUNERS, f"pruner=lowrank pruner.sparsity=0.25,0.5 {RECOVERY}"),
    Method("vocabulary", PRUNERS, f"pruner=vocabulary pruner.min_count=1,2 {RECOVERY}"),
    Method("chain", PRUNERS, f"pruner=chain {RECOVERY}"),
    Method(
        "chain_stronger",
        PRUNERS,
        "pruner=chain pruner.steps.lowrank.sparsity=0.5 pruner.steps.heads.sparsity=0.5 "
        f"pruner.steps.neurons.sparsity=0.2 {RECOVERY}",
    ),
    Method("labels", STUDENTS, "student=layers student.keep=3,2 student.distillation.alpha=0"),
    Method(
        "students",
        STUDENTS,
        "student=layers student.keep=3,2 "
        "student.matching.method=logit,hidden,attention,multi_level",
    ),
    Method(
        "longer",
        STUDENTS,
        "student=layers student.keep=2 student.distillation.epochs=6 "
        "student.distillation.alpha=0,0.9",
    ),
    Method("formats", QUANTIZERS, "quantizer=none,fp16,bf16,nf4"),
    Method(
        "integers",
        QUANTIZERS,
        "quantizer=int8_dynamic,int8_weight_only,int4_weight_only "
        "quantizer.embeddings=none,int8,int4",
    ),
    Method("qat", QUANTIZERS, "quantizer=qat_int8"),
    Method("chain_int8", QUANTIZERS, f"pruner=chain {RECOVERY} quantizer=int8_dynamic"),
)
SECTIONS = tuple(dict.fromkeys(method.section for method in METHODS))


@one_line_ending()
def main() -> None:
    """Runs what is missing, then writes the table."""
    parser = Parser(description=__doc__)
    parser.add_argument("table", type=Path, help="the Markdown file to write")
    parser.add_argument("--runs", type=Path, default=Path("outputs/methods"))
    parser.add_argument("--sections", nargs="+", default=SECTIONS, choices=SECTIONS)
    parser.add_argument("--only", nargs="*", default=[method.name for method in METHODS])
    parser.add_argument("--again", action="store_true", help="measure again what is there")
    arguments = parser.parse_args()
    check_page(arguments.table, TITLE)
    methods = [method for method in METHODS if method.section in arguments.sections]
    for method in methods:
        done = _complete(_latest(arguments.runs, method))
        if method.name in arguments.only and (arguments.again or not done):
            into = f"hydra.sweep.dir={new_folder(arguments.runs / method.name)}"
            subprocess.run([sys.executable, "run.py", *_arguments(method), into])
    page = "\n".join(_page(arguments.runs, methods))
    arguments.table.write_text(page + "\n", encoding="utf-8")


def _arguments(method: Method) -> list[str]:
    return ["-m", *shlex.split(method.arguments), *BENCHMARK]


def _latest(runs: Path, method: Method) -> Path:
    """The folder of a method's last sweep; `new_folder` numbers them."""
    numbered = {1: runs / method.name}
    for path in runs.glob(f"{method.name}-*"):
        number = path.name.removeprefix(f"{method.name}-")
        if number.isdecimal():
            numbered[int(number)] = path
    return numbered[max(numbered)]


def _complete(folder: Path) -> bool:
    """Whether the sweep ended, with every run's record."""
    return (folder / "results.csv").is_file() and not collect([folder]).failed


def _page(runs: Path, methods: Sequence[Method]) -> Iterator[str]:
    there = [method for method in methods if _latest(runs, method).is_dir()]
    records = {m.name: [record for _, record in collect([_latest(runs, m)]).ok] for m in there}
    yield TITLE
    yield ""
    sections = list(dict.fromkeys(method.section for method in there))
    yield f"Made by `python scripts/methods.py PAGE --sections {' '.join(sections)}`."
    yield "What to make of it: results.md."
    yield ""
    yield from _setting(next(record for found in records.values() for record in found))
    for section in sections:
        methods = [method for method in there if method.section == section]
        yield from ("", f"## {section}", "")
        yield from _table([record for method in methods for record in records[method.name]])
        yield from ("", "```")
        for method in methods:
            yield f"python run.py {shlex.join(_arguments(method))}"
        yield "```"


def _setting(record: FinishedRun) -> Iterator[str]:
    """Task, teacher and machine, as all runs share them."""
    env, baseline = record.environment, record.baseline
    assert env is not None
    assert baseline is not None
    score = baseline.score
    yield (
        f"{record.choices['teacher']} on {record.choices['task']}: teacher accuracy "
        f"{score.value:.3f} (95 % interval {score.low:.3f} to "
        f"{score.high:.3f}, n = {score.samples}), {baseline.size_bytes / 1e6:.1f} MB."
    )
    yield f"Machine: {env.machine}; {env.device}; torch {env.versions['torch']}."
    yield "Speed-ups are over the eager float32 teacher, timed in turns in the same run."
    yield "Recovered: after one epoch of distillation. Peak memory is that of pruning, counted"
    yield "tensor by tensor with the copy that is pruned, as a multiple of the teacher's weights."


def _table(records: Sequence[FinishedRun]) -> Iterator[str]:
    """One line a recipe, one-shot and recovered accuracies side by side."""
    pairs: dict[str, dict[bool, FinishedRun]] = {}
    for record in records:
        recovered = record.config["pruner"].get("recovery", {}).get("epochs", 0) > 0
        name = recipe(record).replace(" epochs=0", "").replace(" epochs=1", "")
        pairs.setdefault(name, {})[recovered] = record
    titles = ("recipe", "accuracy", "recovered", "MB", "M parameters", "zeros")
    titles += ("speed-up 1×32", "32×32", "peak memory")
    rows = []
    for name, pair in pairs.items():
        record = pair.get(False) or pair[True]
        metrics = record.metrics
        assert metrics is not None
        cells = [
            name,
            *(_accuracy(pair.get(recovered)) for recovered in (False, True)),
            f"{metrics.size_bytes / 1e6:.1f}",
            f"{metrics.parameters / 1e6:.1f}",
            f"{metrics.sparsity:.0%}" if metrics.sparsity > 0.005 else "",
            *map(speedup_words, record.speedup),
            _peak(record),
        ]
        rows.append(cells)
    filled = [i for i in range(len(titles)) if any(cells[i] for cells in rows)]
    for line in (titles, ["---"] * len(titles), *rows):
        yield f"| {' | '.join(line[i] for i in filled)} |"


def _accuracy(record: FinishedRun | None) -> str:
    return f"{record.metrics.score.value:.3f}" if record and record.metrics else ""


def _peak(record: FinishedRun) -> str:
    """The largest peak of the pruners, over the bytes of the teacher's weights."""
    peaks = [step["notes"].get(PEAK_MEMORY, 0) for step in record.history]
    return f"{max(peaks) / (4 * record.baseline.parameters):.2f}" if max(peaks) else ""


if __name__ == "__main__":
    main()
