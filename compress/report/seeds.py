"""Recipes that were run with several seeds: means and standard deviations over them. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from compress.analysis.recipes import Compared, Recipe, compared, recipes_of
from compress.records.folds import spread
from compress.records.schema import FinishedRun
from compress.records.score_words import kind_of
from compress.records.words import UNCERTAIN, megabytes, p_digits
from compress.report.sections import Section

NO_FIGURE = "–"
COLUMNS = ("recipe", "seeds", "score", "change", "p", "MB", "speed-up")
P_WORDS = (
    "p: paired t-test over the seeds against the best (bold) of the recipes that differ in the "
    "pruner alone at one sparsity, or of all where there are none, corrected for their number "
    "(Holm)"
)


@dataclass(frozen=True)
class SeedRow:
    """A recipe, or the teacher, over its seeds; figures are words, such as "0.842 ± 0.013".

    Attributes:
        change: of the score against the teacher of the same seed.
        p_words: against the best recipe; a dash of that itself, and of single seeds.
        is_best: whether it is that one.
    """

    recipe: str
    seeds: int
    score: str
    change: str
    p_words: str
    megabytes: str
    speedup: str
    is_best: bool = False

    def cells(self) -> tuple[str, ...]:
        """The cells of `COLUMNS`."""
        return (
            self.recipe, str(self.seeds), self.score, self.change, self.p_words, self.megabytes,
            self.speedup,
        )  # fmt: skip


def seed_rows(section: Section) -> list[SeedRow]:
    """The teacher and every recipe; nothing where none has several seeds."""
    recipes = recipes_of(section.runs)
    if all(len(each.seeds) == 1 for each in recipes):
        return []
    beside = zip(recipes, compared(recipes), strict=True)
    return [_teacher(section), *(_row(recipe, found) for recipe, found in beside)]


def seed_words(section: Section) -> str:
    """What the table means."""
    kind = section.kind
    change = f"log {kind.words}" if kind.relative else kind.words
    return (
        f"Runs that differ in their seed alone are one recipe: mean ± standard deviation of "
        f"{kind.words} on the test rows over the seeds. Change: of {change} against the teacher of "
        f"the same seed. {P_WORDS}. {UNCERTAIN}1: no measurable difference in time."
    )


def _row(recipe: Recipe, found: Compared) -> SeedRow:
    sizes = recipe.values(lambda record: float(record.metrics.size_bytes))
    return SeedRow(
        recipe.words,
        len(recipe.seeds),
        _over(recipe.values(lambda record: record.metrics.score.value)),
        _over(recipe.values(_change)),
        NO_FIGURE if found.p_value is None else p_digits(found.p_value),
        megabytes(round(statistics.fmean(sizes.values()))),
        _speed(recipe),
        found.is_best,
    )


def _teacher(section: Section) -> SeedRow:
    """The teachers of all seeds; runs of one seed share one."""
    scores: dict[int | None, float] = {}
    for _, record in section.runs:
        scores.setdefault(record.seed, record.baseline.score.value)
    return SeedRow(
        f"teacher {section.runs[0][1].choices['teacher']}",
        len(scores),
        _over(scores),
        NO_FIGURE,
        NO_FIGURE,
        megabytes(section.baseline.size_bytes),
        "1",
    )


def _speed(recipe: Recipe) -> str:
    """Marked where no seed's run is measurably faster or slower: nothing is spread then."""
    if not any(recipe.values(lambda record: record.speedup[0].counts).values()):
        return f"{UNCERTAIN}1"
    return _over(recipe.values(lambda record: record.speedup[0].counted))


def _change(record: FinishedRun) -> float:
    """How much the score differs; of perplexity, its logarithm."""
    ours, theirs = record.metrics.score, record.baseline.score
    if kind_of(ours).relative:
        return theirs.quality - ours.quality
    return ours.value - theirs.value


def _over(values: Mapping[int | None, float]) -> str:
    found = list(values.values())
    return f"{found[0]:.4g}" if len(found) == 1 else str(spread(found))
