"""Runs every method on one task and writes the table: `python -m benchmarks.methods PAGE`.

`--sections Quantizers` runs and shows these alone; a page is of one machine.
Each method is one sweep of `run.py`, in a folder of its own below `outputs/methods`. A sweep whose
runs are all there is not run again, and stages come from the cache: stop it and start it at will.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from compress.config.ending import Parser, one_line_ending
from compress.pruner.components.base import PEAK_MEMORY
from compress.records.collect import collect
from compress.records.recipe import recipe
from compress.records.schema import FinishedRun
from compress.records.words import speedup_words
from compress.report.tables import markdown_table
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


# By section of the table and folder, what `run.py -m` gets.
METHODS = {
    "Pruners": {
        "masks": "pruner=magnitude,wanda,sparsegpt pruner.sparsity=0.5,0.6,0.7",
        "masks_recovered": "pruner=magnitude,wanda,sparsegpt pruner.sparsity=0.5,0.7 "
        "pruner.recovery.epochs=1",
        "gradual": "pruner=gradual pruner.sparsity=0.5,0.7",
        "movement": "pruner=movement pruner.sparsity=0.1,0.5",
        "heads": f"pruner=heads pruner.sparsity=0.25,0.5 {RECOVERY}",
        "neurons": f"pruner=neurons pruner.sparsity=0.25,0.5 {RECOVERY}",
        "layers": f"pruner=layers pruner.drop=1,2,3 {RECOVERY}",
        "hidden": f"pruner=hidden pruner.sparsity=0.1667,0.3333 pruner.round_to=32 {RECOVERY}",
        "lowrank": f"pruner=lowrank pruner.sparsity=0.25,0.5 {RECOVERY}",
        "vocabulary": f"pruner=vocabulary pruner.min_count=1,2 {RECOVERY}",
        "chain": f"pruner=chain {RECOVERY}",
        "chain_stronger": "pruner=chain pruner.steps.lowrank.sparsity=0.5 "
        f"pruner.steps.heads.sparsity=0.5 pruner.steps.neurons.sparsity=0.2 {RECOVERY}",
    },
    "Students": {
        "labels": "student=layers student.keep=3,2 student.distillation.alpha=0",
        "students": "student=layers student.keep=3,2 "
        "student.matching.method=logit,hidden,attention,multi_level",
        "longer": "student=layers student.keep=2 student.distillation.epochs=6 "
        "student.distillation.alpha=0,0.9",
        "supernet": "student=supernet student.choices.neurons=[768] student.sub.depth=2,3 "
        "student.sub.neurons=768,1536",
    },
    "Quantizers": {
        "formats": "quantizer=none,fp16,bf16,nf4",
        "integers": "quantizer=int8_dynamic,int8_weight_only,rtn "
        "quantizer.embeddings=none,int8,int4",
        "qat": "quantizer=qat_int8",
        "chain_int8": f"pruner=chain {RECOVERY} quantizer=int8_dynamic",
    },
}


@one_line_ending()
def main() -> None:
    """Runs what is missing, then writes the table."""
    parser = Parser(description=__doc__)
    parser.add_argument("table", type=Path, help="the Markdown file to write")
    parser.add_argument("--runs", type=Path, default=Path("outputs/methods"))
    parser.add_argument("--sections", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--again", action="store_true", help="measure again what is there")
    arguments = parser.parse_args()
    check_page(arguments.table, TITLE)
    sections = {name: METHODS[name] for name in METHODS if name in arguments.sections}
    for methods in sections.values():
        for name, sweep in methods.items():
            wanted = arguments.only is None or name in arguments.only
            if wanted and (arguments.again or not _complete(_latest(arguments.runs, name))):
                into = f"hydra.sweep.dir={new_folder(arguments.runs / name)}"
                subprocess.run([sys.executable, "run.py", *_arguments(sweep), into])
    page = "\n".join(_page(arguments.runs, sections))
    arguments.table.write_text(page + "\n", encoding="utf-8")


def _arguments(sweep: str) -> list[str]:
    return ["-m", *shlex.split(sweep), *BENCHMARK]


def _latest(runs: Path, name: str) -> Path:
    """The folder of a method's last sweep; `new_folder` numbers them."""
    numbered = {1: runs / name}
    for path in runs.glob(f"{name}-*"):
        number = path.name.removeprefix(f"{name}-")
        if number.isdecimal():
            numbered[int(number)] = path
    return numbered[max(numbered)]


def _complete(folder: Path) -> bool:
    """Whether the sweep ended, with every run's record."""
    return (folder / "results.csv").is_file() and not collect([folder]).failed


def _page(runs: Path, sections: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    records: dict[str, list[FinishedRun]] = {}  # by section
    sweeps: dict[str, list[str]] = {}
    for section, methods in sections.items():
        for name, sweep in methods.items():
            if (folder := _latest(runs, name)).is_dir():
                records.setdefault(section, []).extend(r for _, r in collect([folder]).ok)
                sweeps.setdefault(section, []).append(sweep)
    yield TITLE
    yield ""
    yield f"Made by `python -m benchmarks.methods PAGE --sections {' '.join(records)}`."
    yield "What to make of it: [results.md](results.md)."
    yield ""
    yield from _setting(next(record for found in records.values() for record in found))
    for section, found in records.items():
        yield from ("", f"## {section}", "", *_table(found), "", "```")
        yield from (f"python run.py {shlex.join(_arguments(sweep))}" for sweep in sweeps[section])
        yield "```"


def _setting(record: FinishedRun) -> Iterator[str]:
    """Task, teacher and machine, as all runs share them."""
    env, baseline = record.environment, record.baseline
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
    rows = []
    for name, pair in pairs.items():
        record = pair.get(False) or pair[True]
        metrics = record.metrics
        rows.append(
            {
                "recipe": name,
                "accuracy": _accuracy(pair.get(False)),
                "recovered": _accuracy(pair.get(True)),
                "MB": f"{metrics.size_bytes / 1e6:.1f}",
                "M parameters": f"{metrics.parameters / 1e6:.1f}",
                "zeros": f"{metrics.sparsity:.0%}" if metrics.sparsity > 0.005 else "",
                "speed-up 1×32": speedup_words(record.speedup[0]),
                "32×32": speedup_words(record.speedup[1]),
                "peak memory": _peak(record),
            }
        )
    if rows:
        filled = [title for title in rows[0] if any(row[title] for row in rows)]
        kept = ([row[title] for title in filled] for row in rows)
        yield from markdown_table(filled, kept)


def _accuracy(record: FinishedRun | None) -> str:
    return f"{record.metrics.score.value:.3f}" if record else ""


def _peak(record: FinishedRun) -> str:
    """The largest peak of the pruners, over the bytes of the teacher's weights."""
    peaks = [step["notes"].get(PEAK_MEMORY, 0) for step in record.history]
    return f"{max(peaks) / (4 * record.baseline.parameters):.2f}" if max(peaks) else ""


if __name__ == "__main__":
    main()
