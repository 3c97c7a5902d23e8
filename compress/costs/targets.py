"""The shapes of a table that are predicted to be fast and small enough."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from compress.config.errors import ConfigError
from compress.costs.lab import exportable
from compress.costs.space import Sizes
from compress.costs.table import Pair, Predicted, Table

MOST_ERROR = 0.1
FASTER = re.compile(r"(\d+)x(\d+)=(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Targets:
    """What a student must reach, as multiples of the float32 teacher's.

    Attributes:
        faster: the speed-up, by shape of the benchmark.
        smaller: the teacher's bytes over the student's; None for any.
    """

    faster: Mapping[tuple[int, int], float]
    smaller: float | None

    def margin(self, pair: Pair, predicted: Predicted) -> float:
        """The least ratio of what is predicted to what is asked for: 1 and more meets all."""
        return min(ratio for ratio, _ in self._ratios(pair, predicted))

    def margin_at_best(self, pair: Pair, predicted: Predicted) -> float:
        """The margin if each prediction erred to the student's disadvantage by its median error.

        More than `MOST_ERROR` is not made up for: predictions that are further off say nothing.
        """
        return min(
            ratio / (1 - min(error, MOST_ERROR)) for ratio, error in self._ratios(pair, predicted)
        )

    def _ratios(self, pair: Pair, predicted: Predicted) -> Iterator[tuple[float, float]]:
        """Of each target the ratio to what is asked for, and its median error as a share."""
        for shape, least in self.faster.items():
            place = pair.shapes.index(shape)
            yield predicted.speedup[place] / least, predicted.speedup_error[place]
        if self.smaller is not None:
            yield predicted.smaller / self.smaller, predicted.size_error


@dataclass(frozen=True)
class Candidate:
    """A shape in a runtime and a format, with its predicted costs."""

    pair: Pair
    sizes: Sizes
    predicted: Predicted
    margin: float


def parse_targets(
    faster: Sequence[str], smaller: float | None, shapes: Sequence[tuple[int, int]]
) -> Targets | None:
    """Targets as a command line has them, such as 1x32=25; None for none.

    Raises:
        ConfigError: one has another form, or is of a shape that is not timed.
    """
    found = {}
    for words in faster:
        match = FASTER.fullmatch(words)
        if match is None or float(match[3]) == 0:
            raise ConfigError(f"--faster must be such as 1x32=25, got {words}")
        shape = int(match[1]), int(match[2])
        if shape not in shapes:
            timed = ", ".join(f"{batch}x{length}" for batch, length in shapes)
            raise ConfigError(f"--faster must be of a shape that is timed, {timed}; got {words}")
        if shape in found:
            raise ConfigError(f"--faster must name each shape once, got {' '.join(faster)}")
        found[shape] = float(match[3])
    if smaller is not None and not 0 < smaller < math.inf:
        raise ConfigError(f"--smaller must be > 0, got {smaller:g}")
    return Targets(found, smaller) if found or smaller is not None else None


def candidates(table: Table, targets: Targets) -> list[Candidate]:
    """Every shape of the space in every runtime and format, the best margin first.

    Of equal margins the smaller one is first: a vocabulary costs bytes, and no time.
    """
    found = []
    for sizes in table.family.space.grid():
        facts = table.facts(sizes)
        for pair in table.pairs.values():
            predicted = pair.predict(facts)
            found.append(Candidate(pair, sizes, predicted, targets.margin(pair, predicted)))
    return sorted(found, key=lambda each: (-each.margin, each.predicted.size_bytes))


def possible(table: Table, listed: Iterable[Candidate]) -> Iterator[Candidate]:
    """Of candidates those that can be exported, which takes a moment each to find out."""
    return (each for each in listed if exportable(table.family, each.sizes, each.pair.run))


def closest(table: Table, targets: Targets, top: int) -> list[Candidate]:
    """At most `top` shapes that meet the targets; if none does, those that miss them by least."""
    every = candidates(table, targets)
    meeting = list(islice(possible(table, (c for c in every if c.margin >= 1)), top))
    return meeting or list(islice(possible(table, every), top))
