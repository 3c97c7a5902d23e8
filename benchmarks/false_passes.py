"""How often a model that loses the margin passes: `python -m benchmarks.false_passes PAGE`.

The exact share for accuracy, over all pairs of counts; and simulated rows for every kind of score,
compared as in a run and tested as by `scripts/gate.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from scipy.special import gammaln, xlogy
from scipy.stats import binomtest

from compress.analysis.noninferiority import Change, evidence, tango_variance
from compress.config.ending import Parser, one_line_ending
from compress.core.problem import Problem
from compress.problem.classification import Classification
from compress.problem.language import LanguageModeling
from compress.problem.multi_label import MultiLabel
from compress.problem.regression import Regression
from compress.records.scores import SCORES
from compress.report.tables import markdown_table
from compress.report.written import check_page

TITLE = "# How often a model that loses the margin passes"
ALPHA, Z = 0.05, 1.6448536269514722  # its quantile
ROWS = (100, 200, 543, 853, 2000, 10_000)
MARGINS = (0.005, 0.01, 0.02, 0.03, 0.05)
IMPROVED = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1)  # share of rows that only the model has right
POPULATION = 400_000
LOST = 0.01  # of accuracy

# ours, theirs, labels: what a problem compares
Rows: TypeAlias = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Process:
    """Rows of two models of which one is worse by the margin.

    Attributes:
        draw: so many rows of a training.
        rows: in a simulated split.
        margin: what the population loses; null where it is to be taken from many rows.
        seeds: how many trainings there are.
    """

    name: str
    problem: Problem
    draw: Callable[[np.random.Generator, int], Rows]
    rows: int
    margin: float | None = None
    seeds: int = 1


@one_line_ending()
def main() -> None:
    """Computes both tables and writes the page."""
    parser = Parser(description=__doc__)
    parser.add_argument("page", type=Path, help="the Markdown file to write")
    parser.add_argument("--runs", type=int, default=2000, help="simulations of each kind")
    arguments = parser.parse_args()
    check_page(arguments.page, TITLE)
    text = "\n".join(page(arguments.page, arguments.runs))
    arguments.page.write_text(text + "\n", encoding="utf-8")


def page(path: Path, runs: int) -> Iterator[str]:
    """The lines of the page."""
    yield from (TITLE, "", f"Made by `python -m benchmarks.false_passes {path} --runs {runs}`; see")
    yield "[decision.md](decision.md). At a level of 5 % at most 5 % may pass."
    yield from ("", "## Accuracy, exactly", "")
    yield (
        "The largest share over models that improve on "
        f"{', '.join(f'{100 * each:g}' for each in IMPROVED)} % of the rows, with the correction "
        "of half a row that is used, and without it:"
    )
    yield ""
    rows = []
    for count in ROWS:
        cells = [_largest(count, margin) for margin in MARGINS]
        rows.append([f"{count:,}", *(f"{100 * a:.2f} ({100 * b:.2f})" for a, b in cells)])
    yield from markdown_table(
        ["rows", *(f"margin {each:g}, % (without)" for each in MARGINS)], rows, escape=str
    )
    yield from ("", f"## Every kind of score, {runs:,} simulations each", "")
    yield (
        "The loss of the population is the margin, known for accuracy and else taken from "
        f"{POPULATION:,} rows. Intervals are of 95 %."
    )
    yield ""
    simulated = []
    for process in processes():
        passed, margin = simulate(process, runs)
        found = binomtest(passed, runs).proportion_ci(method="wilson")
        share = f"{100 * passed / runs:.1f} ({100 * found.low:.1f} to {100 * found.high:.1f})"
        simulated.append([process.name, f"{process.rows:,}", f"{margin:.4f}", share])
        print(*simulated[-1], flush=True)  # noqa: T201
    yield from markdown_table(["score", "rows", "margin", "passed, %"], simulated)


def _largest(rows: int, margin: float) -> tuple[float, float]:
    found = [exact_share(rows, margin, improved) for improved in IMPROVED]
    return max(a for a, _ in found), max(b for _, b in found)


def exact_share(rows: int, margin: float, improved: float) -> tuple[float, float]:
    """Share that passes with the correction, and without it."""
    regressed = improved + margin
    counts = [_likely(rows * share) for share in (regressed, improved)]
    with_it = without = 0.0
    for lost in counts[0]:
        won = counts[1][counts[1] + lost <= rows]
        rest = rows - lost - won
        chance = np.exp(
            gammaln(rows + 1) - gammaln(lost + 1) - gammaln(won + 1) - gammaln(rest + 1)
            + xlogy(lost, regressed) + xlogy(won, improved)
            + xlogy(rest, 1 - regressed - improved)
        )  # fmt: skip
        for each, weight in zip(won, chance, strict=True):
            if weight < 1e-12:
                continue
            error = math.sqrt(tango_variance(float(lost), float(each), rows, margin))
            distance = (each - lost) / rows + margin
            with_it += weight * (distance - 0.5 / rows >= Z * error)
            without += weight * (distance >= Z * error)
    return float(with_it), float(without)


def _likely(mean: float) -> np.ndarray:
    reach = 8 * math.sqrt(mean) + 6
    return np.arange(max(0, int(mean - reach)), int(mean + reach) + 1)


def simulate(process: Process, runs: int) -> tuple[int, float]:
    """How many of so many models pass, and the margin, which is what the population loses."""
    generator = np.random.default_rng(0)
    margin = process.margin
    if margin is None:
        margin = -_change(process, generator, POPULATION).value
    passed = 0
    for _ in range(runs):
        changes = [_change(process, generator, process.rows) for _ in range(process.seeds)]
        passed += evidence(changes, margin, ALPHA).p_within < ALPHA
    return passed, margin


def _change(process: Process, generator: np.random.Generator, rows: int) -> Change:
    ours, theirs, labels = process.draw(generator, rows)
    problem = process.problem
    mine, other = (problem.evaluate(each, labels) for each in (ours, theirs))
    quality = SCORES[mine.metric].quality
    value = quality(mine.value) - quality(other.value)
    if rows == POPULATION:
        return Change(value, rows)
    found = problem.compare(ours, theirs, labels)
    return Change(value, rows, found.n_regressed, found.n_improved, found.standard_error)


def processes() -> Iterator[Process]:
    """A pair of models for each kind of score."""
    classes = Classification(("no", "yes"))
    for rows in (200, 853):
        yield Process("accuracy", classes, _classes, rows, LOST)
    for seeds in (2, 3, 5):
        name = f"accuracy, mean of {seeds} seeds"
        yield Process(name, classes, _training, 853, LOST, seeds)
    yield Process("micro F1", MultiLabel(("a", "b", "c", "d")), _labels, 400)
    yield Process("Spearman correlation", Regression(), _numbers, 400)
    yield Process("perplexity", LanguageModeling(), _windows, 40)


def _training(generator: np.random.Generator, rows: int) -> Rows:
    """A model of one seed: seeds differ by 0.6 points in what they lose."""
    return _classes(generator, rows, float(np.clip(generator.normal(0, 0.006), -0.018, 0.018)))


def _classes(generator: np.random.Generator, rows: int, more: float = 0.0) -> Rows:
    """Rows of which 3 % and more regress and 2 % improve."""
    kind = generator.choice(4, size=rows, p=[0.02 + LOST + more, 0.02, 0.86 - LOST - more, 0.1])
    right = torch.tensor(np.isin(kind, (1, 2)))
    theirs = torch.tensor(np.isin(kind, (0, 2)))
    labels = torch.tensor(generator.integers(2, size=rows))
    outputs = [_logits(each, labels) for each in (right, theirs)]
    return outputs[0], outputs[1], labels


def _logits(right: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Of two classes, the right one or the other one."""
    said = torch.where(right, labels, 1 - labels)
    return torch.nn.functional.one_hot(said, 2).float()


def _labels(generator: np.random.Generator, rows: int) -> Rows:
    truth = generator.normal(size=(rows, 4))
    shared = truth + 0.7 * generator.normal(size=(rows, 4))
    theirs = shared + 0.1 * generator.normal(size=(rows, 4))
    ours = shared + 0.4 * generator.normal(size=(rows, 4))
    return torch.tensor(ours - 1), torch.tensor(theirs - 1), torch.tensor((truth > 1).astype(int))


def _numbers(generator: np.random.Generator, rows: int) -> Rows:
    truth = generator.normal(size=rows)
    shared = truth + 0.5 * generator.normal(size=rows)
    theirs = shared + 0.1 * generator.normal(size=rows)
    ours = shared + 0.25 * generator.normal(size=rows)
    return torch.tensor(ours)[:, None], torch.tensor(theirs)[:, None], torch.tensor(truth)


def _windows(generator: np.random.Generator, rows: int) -> Rows:
    hard = generator.gamma(20, 0.15, size=(rows, 1))
    theirs = hard + 0.1 * generator.normal(size=(rows, 1))
    ours = theirs + 0.01 + 0.03 * generator.normal(size=(rows, 1))
    zeros = np.zeros((rows, 3))
    kept = [torch.tensor(np.hstack([each, zeros]))[:, None, :] for each in (ours, theirs)]
    return kept[0], kept[1], torch.ones(rows, dtype=torch.long)


if __name__ == "__main__":
    main()
