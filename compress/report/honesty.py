"""What a reader must know before trusting the figures, and what is not among them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from compress.records.collect import Collection
from compress.records.schema import Comparison, FinishedRun
from compress.records.score_words import kind_of, value_words
from compress.records.words import NO_DIFFERENCE, shared_words, transfer_words, warnings
from compress.report.contest import is_kept
from compress.report.controls import control_facts
from compress.report.points import Shape, known_speedup, latency_at, run_name, shapes_of, speedup_at
from compress.report.recommend import Advice
from compress.report.tables import grouped

ON_FOLDS = (
    "The figures of a run with folds are means over its models, each evaluated on rows that it was "
    "not made from. The intervals are of these means, the standard deviations of the variation "
    "between folds; the latter are not standard errors, since folds share train rows."
)
LONGEST = 600  # characters of one reason; its record has the whole


@dataclass(frozen=True)
class Excluded:
    """Runs of one kind, such as failed ones; each reason once, with the runs it is about."""

    title: str
    reasons: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def count(self) -> int:
        """How many runs there are."""
        return sum(len(names) for _, names in self.reasons)


def facts(advice: Advice) -> Iterator[tuple[str, str]]:
    """The conditions of a section's figures, as terms with sentences."""
    section = advice.section
    records = [record for _, record in section.runs]
    first = records[0]
    governors = sorted({r.environment.governor or "not readable" for r in records})
    yield "machine", f"{section.machine}; clock governor {', '.join(governors)}"
    yield "device", section.device
    yield "libraries", _versions(records)
    yield (
        "rows",
        f"{first.data.source}: {first.data.train:,} to train on, {first.data.validation:,} to "
        f"validate, {first.data.evaluation:,} to test",
    )
    transfers = [r.data.transfer for r in records if r.data.transfer is not None]
    if transfers:
        yield "transfer text", ". ".join(dict.fromkeys(map(transfer_words, transfers)))
    yield section.kind.words, _score(records)
    if controls := " ".join(control_facts(records)):
        yield "controls", controls
    yield "measured", _when(records)
    for shape in shapes_of(records):
        yield f"times at {shape[0]} × {shape[1]}", " ".join(_times(records, shape))
    yield from _of_runs(records)
    busy = warnings(section.runs)
    yield "busy", " ".join(busy) or "No other process used the CPU when the runs began."
    for words in shared_words(section.runs):
        yield "in plain words", words


def _of_runs(records: Sequence[FinishedRun]) -> Iterator[tuple[str, str]]:
    """Conditions that only some reports have."""
    others = [record.metrics.latency[0].shared_with for record in records]
    if shared := sum(owner is not None for owner in others):
        yield (
            "shared timings",
            f"{shared} of {len(records)} runs have the times of another run, which executes the "
            "same graphs: same runtime, format and tensor shapes. The column shared_with names it.",
        )
    if len({record.seed for record in records}) > 1:
        seeds = ", ".join(sorted({str(record.seed) for record in records}))
        yield (
            "seeds",
            f"{seeds}. Runs that differ only in the seed are one recipe, but separate points.",
        )
    gone = sum(not is_kept(record) for record in records)
    if gone:
        yield "models", f"{gone} of {len(records)} were deleted after they were measured."
    if any(record.folds is not None for record in records):
        yield "folds", ON_FOLDS


def excluded(collection: Collection, root: Path) -> list[Excluded]:
    """The runs without figures, by kind; only the kinds that there are."""
    runs = (("Failed", collection.failed), ("Infeasible", collection.infeasible))
    found = [
        Excluded(title, _by_reason((r.error, run_name(f, root)) for f, r in which))
        for title, which in runs
    ]
    why = "No metrics.json: still running, or killed."
    unfinished = ((why, run_name(folder, root)) for folder in collection.unfinished)
    found.append(Excluded("Unfinished", _by_reason(unfinished)))
    # Each reason names its file.
    found.append(Excluded("Unreadable", tuple((reason, ("",)) for reason in collection.broken)))
    return [each for each in found if each.reasons]


def _by_reason(runs: Iterable[tuple[str, str]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    short = ((r if len(r) <= LONGEST else f"{r[:LONGEST]} …", name) for r, name in runs)
    return tuple((reason, tuple(names)) for reason, names in grouped(short).items())


def _versions(records: Sequence[FinishedRun]) -> str:
    """Each library once; with all its versions where runs differ in it."""
    found: dict[str, dict[str, None]] = {}
    for record in records:
        for name, version in record.environment.versions.items():
            found.setdefault(name, {})[version] = None
    return ", ".join(f"{name} {' or '.join(versions)}" for name, versions in found.items())


def _score(records: Sequence[FinishedRun]) -> str:
    """How sure the scores are."""
    scores = [record.metrics.score for record in records]
    samples = sorted({score.samples for score in scores})
    kind, widest = kind_of(scores[0]), max((score.high - score.low) / 2 for score in scores)
    intervals = "Wilson intervals" if scores[0].metric == "accuracy" else "intervals"
    words = (
        f"on {' or '.join(f'{n:,}' for n in samples)} test rows: 95 % {intervals} of up to "
        f"± {value_words(kind, widest, 3)}"
    )
    tests = dict.fromkeys(each.comparison.test for each in records)
    rows = ", row by row" if Comparison.test in tests else ""
    return f"{words}; against the teacher by {' or '.join(tests)}{rows}"


def _when(records: Sequence[FinishedRun]) -> str:
    started = sorted(record.started for record in records)
    return started[0] if len(started) == 1 else f"{started[0]} to {started[-1]}"


def _times(records: Sequence[FinishedRun], shape: Shape) -> Iterator[str]:
    """How often, how steady, and what the machine's noise is."""
    timed = [record for record in records if speedup_at(record, shape) is not None]
    samples = [found.samples for r in timed if (found := latency_at(r.metrics, shape))]
    theirs = [found.median_ms for r in timed if (found := latency_at(r.baseline, shape))]
    yield (
        f"Each run in turns with its teacher, {_span(samples, ',')} passes; the teacher's median "
        f"was {_span(theirs, '.2f')} ms."
    )
    known = [known_speedup(record, shape).floor for record in timed]
    floors = [floor for floor in known if floor is not None]
    if floors:
        yield (
            f"Noise floor (the teacher timed against itself): {_span(floors, '.3f')}. A speed-up "
            f"whose interval is not outside it is {NO_DIFFERENCE}."
        )
    if len(floors) < len(timed):
        missing = len(timed) - len(floors)
        yield (
            f"The noise floor was not measured for {missing} of {len(timed)} runs: their speed-ups "
            "are significant if the interval excludes 1."
        )


def _span(values: Sequence[float], form: str) -> str:
    low, high = (format(end, form) for end in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"
