"""Two runs, or two sweeps run by run: what changed in them, and what of that is more than noise."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from compress.config.legible import shortened, visible
from compress.records.collect import Collection
from compress.records.measurements import outside
from compress.records.recipe import recipe
from compress.records.schema import FailedRun, FinishedRun, RunRecord, Score, Speedup
from compress.records.score_words import difference_words, kind_of, value_words
from compress.records.words import megabytes, speedup_words

# What docs/measurement.md says that memory repeats to: "a few percent".
MEMORY_NOISE = 0.05
SAME, INCOMPARABLE, ABSENT = "the same", "does not compare", "–"
LONGEST = 1_000  # characters of a value; one that is longer differs in these, or in its length
MACHINE = ("machine", "device", "governor")

Run = tuple[Path, RunRecord]


class Pair(NamedTuple):
    """A run and what it is compared with."""

    left: Run
    right: Run


class Matching(NamedTuple):
    """Which runs of two sweeps belong together, and which have no partner."""

    pairs: tuple[Pair, ...]
    only_left: tuple[Run, ...]
    only_right: tuple[Run, ...]


class Difference(NamedTuple):
    """A setting, a version or a fact that is not the same.

    Attributes:
        key: such as "config pruner.sparsity" or "version torch".
        left: as JSON; a dash where there is none.
        right: the same for the right side.
    """

    key: str
    left: str
    right: str


class Change(NamedTuple):
    """One figure of two runs, in words.

    Attributes:
        kind: the score's, size, speed-up or memory.
        change: from left to right, with its 95 % interval where there is one.
        verdict: whether that is more than noise.
    """

    kind: str
    figure: str
    left: str
    right: str
    change: str
    verdict: str


def match(left: Collection, right: Collection) -> Matching:
    """Pairs the runs of two folders, failed ones included.

    Two lone runs are a pair. Otherwise runs of a task belong together that have equal overrides; of
    the others those of equal recipe and seed; of the others those of equal recipe. Where several
    qualify they go in their order.
    """
    if len(left.runs) == len(right.runs) == 1:
        return Matching((Pair(left.runs[0], right.runs[0]),), (), ())
    ours, theirs = list(left.runs), list(right.runs)
    pairs = []
    keys: tuple[Callable[[RunRecord], Hashable], ...] = (
        lambda record: (record.choices.get("task"), frozenset(record.overrides)),
        lambda record: (record.choices.get("task"), recipe(record), record.seed),
        lambda record: (record.choices.get("task"), recipe(record)),
    )
    for key in keys:
        for run in list(ours):
            partner = next((each for each in theirs if key(each[1]) == key(run[1])), None)
            if partner is not None:
                pairs.append(Pair(run, partner))
                ours.remove(run)
                theirs.remove(partner)
    place = {folder: number for number, (folder, _) in enumerate(left.runs)}
    pairs.sort(key=lambda pair: place[pair.left[0]])
    return Matching(tuple(pairs), tuple(ours), tuple(theirs))


def differences(pair: Pair) -> list[Difference]:
    """What is not the same in config, machine, versions and data."""
    left, right = (dict(_facts(record)) for _, record in pair)
    both = ((key, left.get(key, ABSENT), right.get(key, ABSENT)) for key in left | right)
    return sorted(Difference(*each) for each in both if each[1] != each[2])


def _facts(record: RunRecord) -> Iterator[tuple[str, str]]:
    yield from _flat(record.config, "config ")
    if isinstance(record, FinishedRun):
        yield from _flat({name: getattr(record.environment, name) for name in MACHINE}, "")
        yield from _flat(record.environment.versions, "version ")
        yield from _flat(asdict(record.data), "data ")


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    """Dotted keys and their values as JSON. Lists are values."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            text = json.dumps(value, ensure_ascii=False)
            yield f"{prefix}{key}", visible(shortened(text, LONGEST))


def cautions(pair: Pair) -> dict[str, str]:
    """Which kinds of figures of the two do not compare, and why not."""
    found: dict[str, str] = {}
    (_, left), (_, right) = pair
    if isinstance(left, FailedRun) or isinstance(right, FailedRun):
        return found
    ours, theirs = (record.metrics.score for record in (left, right))
    score = _names(ours, theirs)
    if left.choices["task"] != right.choices["task"]:
        found[score] = f"tasks differ: {left.choices['task']}, {right.choices['task']}"
    elif ours.metric != theirs.metric:
        found[score] = "their primary metrics differ"
    elif left.data.digest != right.data.digest:
        found[score] = "rows differ: the digests of the data are not the same"
    here, there = (f"{env.machine}, {env.device}" for env in (left.environment, right.environment))
    if here != there:
        found["speed-up"] = found["memory"] = f"machines differ: {here}; {there}"
    elif left.baseline.size_bytes != right.baseline.size_bytes:
        found["speed-up"] = "teachers differ, and a speed-up is one over the teacher"
    return found


def changes(pair: Pair) -> list[Change]:
    """The figures side by side; none if one of the runs bears none."""
    (_, left), (_, right) = pair
    if isinstance(left, FailedRun) or isinstance(right, FailedRun):
        return []
    ours, theirs = left.metrics, right.metrics
    found = [
        _score(ours.score, theirs.score),
        _size(ours.size_bytes, theirs.size_bytes),
        *_speeds(left, right),
        _memory("resident memory, MB", ours.resident_bytes, theirs.resident_bytes),
        _memory("peak memory, MB", ours.peak_memory_bytes, theirs.peak_memory_bytes),
    ]
    warned = cautions(pair)
    return [c._replace(verdict=INCOMPARABLE) if c.kind in warned else c for c in found]


def quality_difference(left: Score, right: Score) -> tuple[float, float, float]:
    """The right quality less the left one, with its 95 % interval; both of one metric.

    Of the two models' own intervals, treating the samples as independent: of accuracies Newcombe's
    ("Interval estimation for the difference between independent proportions", Statistics in
    Medicine 17:873, 1998, method 10), of other scores the same construction (Zou & Donner,
    "Construction of confidence intervals about effect measures", Statistics in Medicine 27:1693,
    2008). Records hold no predictions, so what two models get wrong on the same row cannot be set
    against each other; where the rows are the same, the interval is wider than it need be.

    Returns:
        Difference, lower and upper end.
    """
    ours, our_low, our_high = _quality_interval(left)
    theirs, their_low, their_high = _quality_interval(right)
    difference = theirs - ours
    low = math.hypot(theirs - their_low, our_high - ours)
    high = math.hypot(their_high - theirs, ours - our_low)
    return difference, difference - low, difference + high


def _quality_interval(score: Score) -> tuple[float, float, float]:
    """The quality with the lower and the upper end of its interval."""
    low, high = sorted(map(kind_of(score).quality, (score.low, score.high)))
    return score.quality, low, high


def speedup_ratio(left: Speedup, right: Speedup) -> tuple[float, float, float, bool]:
    """The right speed-up over the left one with an interval.

    Its ends come from dividing the ends of two intervals of 95 %, so it covers more than 95 %. It
    tells of a change if it lies outside what a model's speed-up over itself may be in either run.

    Returns:
        Ratio, lower and upper end, whether that tells of a change.
    """
    low, high = right.low / left.high, right.high / left.low
    floor = max(left.floor or 1.0, right.floor or 1.0)
    return right.ratio / left.ratio, low, high, outside(low, high, floor)


def _score(left: Score, right: Score) -> Change:
    kinds = kind_of(left), kind_of(right)
    name = _names(left, right)
    shown = [
        f"{value_words(kind, score.value, 4)} (n = {score.samples})"
        for kind, score in zip(kinds, (left, right), strict=True)
    ]
    if left.metric != right.metric:
        return Change(name, name, shown[0], shown[1], ABSENT, INCOMPARABLE)
    difference, low, high = quality_difference(left, right)
    rising = kinds[0].better == "higher"
    words = [
        difference_words(kinds[0], each)
        for each in (difference, *((low, high) if rising else (high, low)))
    ]
    more, less = ("higher", "lower") if rising else ("better", "worse")
    verdict = _verdict(difference, low > 0 or high < 0, more, less, "may be chance")
    change = f"{words[0]} ({words[1]} to {words[2]})"
    return Change(name, name, shown[0], shown[1], change, verdict)


def _names(left: Score, right: Score) -> str:
    """Primary metric of two models."""
    return ", ".join(dict.fromkeys(kind_of(score).words for score in (left, right)))


def _size(left: int, right: int) -> Change:
    verdict = _verdict(right - left, left != right, "larger", "smaller", SAME)
    shown = megabytes(left), megabytes(right), f"{right - left:+,} bytes"
    return Change("size", "size, MB", *shown, verdict)


def _speeds(left: FinishedRun, right: FinishedRun) -> Iterator[Change]:
    """A change for each shape that either was timed at."""
    ours, theirs = (
        {(each.batch, each.length): each for each in record.speedup} for record in (left, right)
    )
    for shape in dict.fromkeys([*ours, *theirs]):
        one, other = ours.get(shape), theirs.get(shape)
        name = f"speed-up {shape[0]}×{shape[1]}"
        shown = [ABSENT if each is None else speedup_words(each) for each in (one, other)]
        if one is None or other is None:
            yield Change("speed-up", name, shown[0], shown[1], ABSENT, "timed in one of them only")
            continue
        ratio, low, high, sure = speedup_ratio(one, other)
        verdict = _verdict(ratio - 1, sure, "faster", "slower", "may be noise")
        change = f"× {ratio:.2f} ({low:.2f} to {high:.2f})"
        yield Change("speed-up", name, shown[0], shown[1], change, verdict)


def _memory(name: str, left: int | None, right: int | None) -> Change:
    shown = megabytes(left), megabytes(right)
    if left is None or right is None:
        return Change("memory", name, *shown, ABSENT, "not measured in both")
    share = right / left - 1
    verdict = _verdict(share, abs(share) > MEMORY_NOISE, "more", "less", "may be noise")
    return Change("memory", name, *shown, f"{100 * share:+.1f} %", verdict)


def _verdict(change: float, sure: bool, more: str, less: str, unsure: str) -> str:
    if not sure:
        return unsure
    return more if change > 0 else less
