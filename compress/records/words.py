"""What figures mean, in words: one place, so that table, card and screen say the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from compress.records.schema import Comparison, FinishedRun, Latency, Speedup, Split, TransferText
from compress.records.score_words import difference_words, kind_of, value_words

SIGNIFICANT = 0.05
NO_DIFFERENCE = "no measurable difference"
UNCERTAIN = "≈"  # before a time that the interval of the speed-up denies
BUSY = ", unreliable as the machine was busy"
UNCERTAIN_TIMES = f"{UNCERTAIN} before a time: not measurably different from the baseline's"
KNOWS_NOTHING = ", so it has learned nothing to lose"
TOLD_ZEROS = 0.01
LISTED = 12  # runs named in one sentence
SAME_BYTES = 0.01  # config and names of modules differ by less


def plain_words(record: FinishedRun) -> list[str]:
    """Sentences on what a run's compression does not buy on its runtime; mostly none."""
    return [words for words in (_on_zeros(record), _on_format(record)) if words]


def speedup_words(speed: Speedup, to: str = " to ") -> str:
    """Such as "2.80 (2.70 to 2.90)", or "no measurable difference (interval 0.95 to 6.64)"."""
    ends = f"{speed.low:.2f}{to}{speed.high:.2f}"
    return f"{speed.ratio:.2f} ({ends})" if speed.counts else f"{NO_DIFFERENCE} (interval {ends})"


def fast_words(speed: Speedup) -> str:
    """Such as "4.6 times as fast (4.4 to 4.8)"; a slow-down keeps a digit more."""
    if not speed.counts:
        return f"{NO_DIFFERENCE} in time (interval {speed.low:.2f} to {speed.high:.2f})"
    digits = 1 if speed.ratio > 2 else 2
    ratio, low, high = (f"{each:.{digits}f}" for each in (speed.ratio, speed.low, speed.high))
    return f"{ratio} times as fast ({low} to {high})"


def median_words(speed: Speedup, ours: Latency, theirs: Latency, digits: int) -> str:
    """The model's median in ms, marked where it tells of a difference that the interval denies."""
    contrary = (theirs.median_ms - ours.median_ms) * (speed.ratio - 1) < 0
    mark = UNCERTAIN if contrary or not speed.counts else ""
    return f"{mark}{ours.median_ms:.{digits}f}"


def summary_words(record: FinishedRun) -> str:
    """A run's score, size and speed in one line, beside its teacher's."""
    ours, theirs = record.metrics, record.baseline
    kind, speed = kind_of(ours.score), record.speedup[0]
    scores = [value_words(kind, each.score.value, 4) for each in (ours, theirs)]
    median = median_words(speed, ours.latency[0], theirs.latency[0], 2)
    empty = kind.better == "higher" and theirs.score.value <= 0
    teacher = f"teacher {scores[1]}{KNOWS_NOTHING if empty else ''}"
    return (
        f"{kind.words} {scores[0]} ({teacher}), {megabytes(ours.size_bytes)} MB "
        f"({megabytes(theirs.size_bytes)}), {median} ms ({theirs.latency[0].median_ms:.2f}), "
        f"speed-up: {speedup_words(speed)}{BUSY if record.environment.busy else ''}"
    )


def change_words(record: FinishedRun) -> str:
    """How the score differs from the baseline's: "-0.0340 (p < 0.001)", "no significant change"."""
    ours, theirs = record.metrics, record.baseline
    change = difference_words(kind_of(ours.score), ours.score.quality - theirs.score.quality)
    found = record.comparison
    if not significant(found):
        return f"{change}, no significant change ({p_words(found)})"
    return f"{change} ({p_words(found)})"


def significant(found: Comparison) -> bool:
    """Whether the scores differ by more than chance."""
    return found.p_value < SIGNIFICANT


def rows_words(rows: int, split: Split) -> str:
    """How many rows of a split: "853 validation rows", "1,000 test rows"."""
    return f"{rows:,} {'validation' if split == 'validation' else 'test'} rows"


def p_words(found: Comparison) -> str:
    """The p-value with the digits that matter."""
    return p_of(found.p_value)


def p_of(value: float) -> str:
    """A p-value with the digits that matter: "p = 0.25"."""
    digits = p_digits(value)
    return f"p {digits}" if digits[0] == "<" else f"p = {digits}"


def p_digits(value: float) -> str:
    """A p-value with the digits that matter, for a column of such: "0.25"."""
    return "< 0.001" if value < 0.001 else f"{value:.2g}"


def needed_words(rows: int | None) -> str:
    """How many rows would decide, if a feasible number would; two digits, as it is no surer."""
    if rows is None:
        return "; so close to the margin, no practical number of rows would be enough"
    return f"; about {int(float(f'{rows:.1e}')):,} would decide"


def shape_words(timed: Latency) -> str:
    """What was timed: "1 × 32 tokens"; of images, whose length means nothing, "1 × 32"."""
    shape = f"{timed.batch} × {timed.length}"
    return shape if timed.tokens_per_second is None else f"{shape} tokens"


def saved_words(record: FinishedRun) -> str:
    """Bytes saved over the baseline as a share: "35 %", "-1 %" if it takes more."""
    ours, theirs = record.metrics, record.baseline
    return f"{round(100 * (1 - ours.size_bytes / theirs.size_bytes))} %"


def megabytes(size_bytes: int | None) -> str:
    """In units of a million bytes; a dash for what was not measured."""
    return "–" if size_bytes is None else f"{size_bytes / 1e6:.1f}"


def target_sparsity(record: FinishedRun) -> float | None:
    """The pruner's `sparsity` setting; None for pruners that are asked for something else.

    Of what it is a share is the pruner's affair: weights, heads, neurons.
    """
    asked = record.settings("pruner").get("sparsity")
    return float(asked) if isinstance(asked, int | float) and 0 <= asked <= 1 else None


def transfer_words(found: TransferText) -> str:
    """How many texts without labels there were to learn from, whence, and what was dropped."""
    leaks = (f"{count:,} that hold a row of {split}" for split, count in found.leaks.items())
    dropped = ", ".join([f"{found.duplicates:,} duplicates", *leaks])
    return (
        f"{found.rows:,} {found.source}; dropped of the {found.read:,} read: "
        f"{found.other_lengths:,} of another length, {dropped}"
    )


def warnings(runs: Sequence[tuple[Path, FinishedRun]]) -> list[str]:
    """What a reader must know before comparing figures: busy machines, different machines."""
    machines: dict[str, list[str]] = {}
    busy = [folder.name for folder, record in runs if record.environment.busy is not None]
    for folder, record in runs:
        found = record.environment
        machines.setdefault(f"{found.machine}, {found.device}", []).append(folder.name)
    said = []
    if len(machines) > 1:
        places = "; ".join(f"{name} ({named_runs(which)})" for name, which in machines.items())
        said.append(f"{len(machines)} machines, whose times do not compare: {places}.")
    if busy:
        said.append(
            f"The machine was busy with something else at the start of {named_runs(busy)}: times "
            "may be off. How busy is in results.csv."
        )
    return said


def shared_words(runs: Sequence[tuple[Path, FinishedRun]]) -> list[str]:
    """The plain words of all runs, each sentence once, after the runs that it is about."""
    said: dict[str, list[str]] = {}
    for folder, record in runs:
        for words in plain_words(record):
            said.setdefault(words, []).append(folder.name)
    return [f"{named_runs(which, 'Run')}: {words}" for words, which in said.items()]


def by_score(runs: Sequence[tuple[Path, FinishedRun]]) -> list[list[tuple[Path, FinishedRun]]]:
    """Groups the runs by primary metric: one column cannot hold two metrics."""
    found: dict[str, list[tuple[Path, FinishedRun]]] = {}
    for run in runs:
        found.setdefault(run[1].metrics.score.metric, []).append(run)
    return list(found.values())


def named_runs(names: Sequence[str], word: str = "run") -> str:
    """Such as "runs 3, 4, 5"; of many the first dozen."""
    listed = [*names[:LISTED], *([f"{len(names) - LISTED} more"] if len(names) > LISTED else [])]
    return f"{word}{'s' if len(names) > 1 else ''} {', '.join(listed)}"


def _on_zeros(record: FinishedRun) -> str | None:
    """No runtime here skips a zero, so what is saved is saved by other means."""
    ours, theirs = record.metrics, record.baseline
    # Zeros that no stage expects were made by rounding, and nobody asked for them.
    expected = any(step.get("expected_zeros") for step in record.history)
    if ours.sparsity < TOLD_ZEROS or not expected:
        return None
    percent = f"{100 * ours.sparsity:.0f}"
    share = "Half" if percent == "50" else f"{percent} %"
    zeros = (
        f"{share} of the block weights are zero, but the {ours.runtime} runtime stores and "
        "multiplies zeros like any number: "
    )
    if abs(ours.size_bytes - theirs.size_bytes) > SAME_BYTES * theirs.size_bytes:
        return f"{zeros}what this model saves, it saves by other means."
    if any(speed.counts for speed in record.speedup):
        return f"{zeros}no bytes saved."
    return f"{zeros}no bytes saved, {NO_DIFFERENCE} in time."


def _on_format(record: FinishedRun) -> str | None:
    """A format that is only stored, and made what it was for every product."""
    ours, theirs = record.metrics, record.baseline
    quantizer = record.choices.get("quantizer", "none")
    same = (ours.runtime, ours.precision) == (theirs.runtime, theirs.precision)
    if quantizer == "none" or ours.precision is None or not same:
        return None
    saves = "bytes" if any(speed.counts for speed in record.speedup) else "bytes and no time"
    return (
        f"{quantizer} saves {saves}: the {ours.runtime} runtime computes in {ours.precision} as "
        "before."
    )
