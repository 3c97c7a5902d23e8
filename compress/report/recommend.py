"""Which model to ship, in plain sentences, and the best of those admitted. Pure.

Where every run of a section was scored on validation rows, these choose and the figures shown are
of the evaluation rows, which were not used for selection.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from compress.analysis.decision import Rule
from compress.records.schema import FinishedRun, Split
from compress.records.score_words import (
    document_bytes,
    has_own_index,
    kind_of,
    margin_words,
    score_words,
)
from compress.records.scores import INDEX_BYTES
from compress.report.contest import Contest, contest_of, rule_of
from compress.report.controls import cheapest_admitted
from compress.report.points import Shape
from compress.report.sections import Section
from compress.report.verdict import headline, reasons

# Losses that a reader may choose from.
MARGINS = (0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05)


@dataclass(frozen=True)
class Pick:
    """A recipe that is the best at something.

    Attributes:
        name: of its first run.
        record: of that run.
        change: of quality against the teacher on the rows that chose, mean over the seeds.
        wins: what it is the best at: "to ship", "smallest that loses less than 1 point".
        others: the runs of the same recipe with other seeds.
    """

    name: str
    folder: Path
    record: FinishedRun
    change: float
    latency_ms: float
    wins: tuple[str, ...]
    others: tuple[str, ...]


@dataclass(frozen=True)
class Advice:
    """What to do with the runs of a section.

    Attributes:
        split: whose rows chose.
        picks: the best of those admitted, each once, and what more rows might admit; the one to
            ship first.
        headline: what to do, in sentences.
        words: the headline as one text, then the reasons.
        ship: name of the run to ship; null if the teacher, or none, is better kept.
        others: the same by other margins, with this one among them, the smallest margin first.
    """

    section: Section
    shape: Shape
    split: Split
    rule: Rule
    picks: tuple[Pick, ...]
    headline: tuple[str, ...]
    words: tuple[str, ...]
    ship: str | None
    others: tuple[Advice, ...] = ()

    @property
    def shipped(self) -> Pick | None:
        """The run to ship."""
        return None if self.ship is None else self.picks[0]


def advise(section: Section, root: Path, rule: Rule | None = None) -> Advice:
    """The recommendation for a section; runs are named by their folders below the root.

    Without a rule, by the one that the runs were started with.
    """
    rule = rule or rule_of(section)
    contest = contest_of(section, root, rule)
    rules = [Rule(margin=margin, alpha=rule.alpha) for margin in sorted({*MARGINS, rule.margin})]
    others = tuple(_advice(section, contest.by(each)) for each in rules)
    return replace(_advice(section, contest), others=others)


def _advice(section: Section, contest: Contest) -> Advice:
    said = headline(contest, cheapest_admitted(contest))
    words = [" ".join(said), *reasons(contest)]
    ship = contest.decision.ship
    return Advice(
        section,
        contest.shape,
        contest.split,
        contest.decision.rule,
        tuple(_picks(contest)),
        tuple(said),
        (*words, *_left_out(section, contest), *_indexes(section)),
        None if ship is None else ship.name,
    )


def _picks(contest: Contest) -> Iterator[Pick]:
    decision, wins = contest.decision, dict[str, list[str]]()
    if decision.ship is not None:
        wins[decision.ship.name] = ["to ship"]
    if within := decision.within():
        margin = margin_words(contest.kind, decision.rule.margin)
        ways = {
            "smallest": min(within, key=lambda each: (each.size_bytes, each.latency_ms)),
            "fastest": min(within, key=lambda each: (each.latency_ms, each.size_bytes)),
        }
        for way, best in ways.items():
            wins.setdefault(best.name, []).append(f"{way} shown to lose less than {margin}")
    if decision.hopeful is not None:
        wins.setdefault(decision.hopeful.name, []).append(
            "smaller product of size and time, but too few rows to decide"
        )
    for name, words in wins.items():
        found = decision.standings[name]
        folder, record = contest.recipes[name].runs[0]
        yield Pick(
            name,
            folder,
            record,
            found.evidence.change,
            found.candidate.latency_ms,
            tuple(words),
            contest.names[name][1:],
        )


def _left_out(section: Section, contest: Contest) -> Iterator[str]:
    missing = len(section.runs) - contest.timed
    if missing:
        shape = f"{contest.shape[0]} × {contest.shape[1]}"
        yield f"{missing} of {len(section.runs)} runs were not timed at {shape} and are left out."


def _indexes(section: Section) -> Iterator[str]:
    """What runs with smaller indexes need for a document: decisions weigh models alone."""
    found = [(folder, record.metrics.score, record.baseline.score)
             for folder, record in section.runs if has_own_index(record)]  # fmt: skip
    if not found:
        return
    folder, ours, theirs = min(
        found, key=lambda run: (run[1].others[INDEX_BYTES], -run[1].quality, run[0].name)
    )
    yield (
        f"Bytes of an index are not weighed here. Run {folder.name} has the smallest, "
        f"{document_bytes(ours)} bytes a document instead of {document_bytes(theirs)}, with "
        f"{kind_of(ours).words} {score_words(ours)}."
    )
